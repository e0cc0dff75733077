"""How many connections a door has, and which of them is closed when one more comes."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Protocol

from ares_otel.pipeline.admission import PROGRESS_BYTES

OVERFLOW_SHARE = 10
"""A tenth more connections than allowed are let in, to be told 503; what comes beyond that is closed."""


class Evictable(Protocol):
    """A connection that can be told to go."""

    def evict(self) -> None:
        """Ends the connection, with an answer where one is expected. It is not counted any more."""


class Connections:
    """Counts the connections of one door. Those that wait for their client are kept in the order in which they began to
    wait: the first of them has to go when the door is full."""

    def __init__(self, limit: int, stalled_seconds: float) -> None:
        self._limit = limit
        self._extra = max(1, limit // OVERFLOW_SHARE)
        self._stalled_seconds = stalled_seconds
        self._open: set[Evictable] = set()
        self._over: set[Evictable] = set()
        self._waiting: OrderedDict[Evictable, float] = OrderedDict()
        self._bytes: dict[Evictable, int] = {}

    def admit(self, connection: Evictable) -> bool | None:
        """True for one that is let in, False for one that is only told 503, None for one that has to be closed."""
        if len(self._open) < self._limit or self._evict():
            self._open.add(connection)
            return True
        if len(self._over) < self._extra:
            self._over.add(connection)
            return False
        return None

    def gone(self, connection: Evictable) -> None:
        """The connection is closed, or as good as that."""
        self._open.discard(connection)
        self._over.discard(connection)
        self.busy(connection)

    def waits(self, connection: Evictable) -> None:
        """The connection waits for its client: for a request, or for the rest of one."""
        if connection in self._open:
            self._waiting[connection] = time.monotonic()
            self._waiting.move_to_end(connection)
            self._bytes[connection] = 0

    def progress(self, connection: Evictable, size: int) -> None:
        """So many bytes of a body have come; few of them are no progress."""
        if connection in self._waiting:
            self._bytes[connection] += size
            if self._bytes[connection] >= PROGRESS_BYTES:
                self.waits(connection)

    def busy(self, connection: Evictable) -> None:
        """The connection has all it needs: Ares works, and nobody may end that."""
        self._waiting.pop(connection, None)
        self._bytes.pop(connection, None)

    def _evict(self) -> bool:
        for connection, since in self._waiting.items():
            if time.monotonic() - since < self._stalled_seconds:
                return False
            self.gone(connection)
            connection.evict()
            return True
        return False
