"""Warnings about failures that come by the hundred: each kind is said at once, then once in a while, with a count."""

from __future__ import annotations

import logging

from ares_otel.model.clock import Clock

INTERVAL = 10.0
"""Seconds between two warnings of one kind."""


class Complaints:
    """Logs a warning of each kind at most once in `INTERVAL`. Kinds are few: SQLSTATE codes."""

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, float] = {}
        self._more: dict[str, int] = {}

    def about(self, kind: str, message: str) -> None:
        """Logs the message, or counts it for the next time."""
        now = self._clock.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < INTERVAL:
            self._more[kind] = self._more.get(kind, 0) + 1
            return
        self._last[kind] = now
        more = self._more.pop(kind, 0)
        self._log.warning("%s", message + (f" ({more} more like this)" if more else ""))
