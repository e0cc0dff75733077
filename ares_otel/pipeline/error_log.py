"""Unexpected errors in the log: each once with its traceback, not a thousand times."""

from __future__ import annotations

import logging
import traceback

from ares_otel.model.clock import Clock

INTERVAL_SECONDS = 60.0
_KINDS = 100


class ErrorLog:
    """Logs an error with its traceback, and the same error (type and place) again only after a minute, with how many
    were left out."""

    def __init__(self, log: logging.Logger, clock: Clock, *, told: str = "; the sender was asked to retry") -> None:
        """
        Args:
            told: the end of the line, which says what the other side was told.
        """
        self._log = log
        self._clock = clock
        self._told = told
        self._seen: dict[tuple[type[BaseException], str, int], tuple[float, int]] = {}

    def unexpected(self, error: BaseException, what: str) -> None:
        """Logs `error`. `what` says what was being done, and holds nothing that a sender chose."""
        frames = traceback.extract_tb(error.__traceback__)
        place = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
        key, now = (type(error), *place), self._clock.monotonic()
        logged, left_out = self._seen.get(key, (now - INTERVAL_SECONDS, 0))
        if now - logged < INTERVAL_SECONDS:
            self._seen[key] = (logged, left_out + 1)
            return
        if len(self._seen) >= _KINDS:
            self._seen.clear()
        self._seen[key] = (now, 0)
        again = f" ({left_out} more like this since the last line)" if left_out else ""
        self._log.error("%s failed unexpectedly%s%s", what, again, self._told, exc_info=error)
