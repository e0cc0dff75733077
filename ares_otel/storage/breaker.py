"""Whether the database takes the data of one signal. While it does not, nobody waits to find that out again."""

from __future__ import annotations

import asyncio
import logging

FIRST_DELAY = 0.5
"""Seconds until the first look whether the database takes data again; twice as long after each failure."""
LONGEST_DELAY = 5.0

log = logging.getLogger("ares_otel.storage")


class Breaker:
    """Open after a failure: requests of the signal go to the spool, or are refused at once. Somebody else (the
    replayer) looks again after a while and closes it."""

    def __init__(self, name: str) -> None:
        """Args: name: what goes through, for the log."""
        self._name = name
        self.open = False
        self.reason = ""
        """Why it is open, a sentence."""
        self._said = False
        self.wake = asyncio.Event()
        """Set when there is something to do: it was opened, or a request went to the spool."""
        self._failures = 0

    def trip(self, reason: str) -> None:
        """The database did not take data."""
        if not self.open:
            self._failures += 1
        if not self._said:
            self._said = True
            log.warning("The database does not take %s: %s", self._name, reason)
        self.open, self.reason = True, reason
        self.wake.set()

    def close(self) -> None:
        """The database looks as if it took data again. Should that be wrong, the next failure opens it, and the delays
        go on growing where they were."""
        self.open, self.reason = False, ""

    def worked(self) -> None:
        """Data was stored."""
        self._failures = 0
        if self._said:
            self._said = False
            log.warning("The database takes %s again.", self._name)
        if self.open:
            self.close()

    def failed_again(self) -> None:
        """A look at the database failed."""
        self._failures += 1

    @property
    def delay(self) -> float:
        """Seconds to wait before the next look."""
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(10, max(0, self._failures - 1)))
