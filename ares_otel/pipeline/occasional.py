"""Warnings about data: a sender must not be able to fill the log."""

from __future__ import annotations

from ares_otel.pipeline.component import BuildContext

INTERVAL_SECONDS = 60.0


class Occasional:
    """Logs a warning at most once in `INTERVAL_SECONDS`, with the number of those that were left out."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._next = float("-inf")
        self._left_out = 0

    def warn(self, message: str, *args: object) -> None:
        """As `Logger.warning`, after the component's id."""
        now = self._context.clock.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        more = f" ({self._left_out} more like this since the last warning)" if self._left_out else ""
        self._next, self._left_out = now + INTERVAL_SECONDS, 0
        self._context.log.warning("%s: " + message + more, self._context.id, *args)
