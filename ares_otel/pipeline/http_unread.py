"""Answers that a door has written and clients do not read: how long they may wait, and how much memory they take."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Writer(Protocol):
    """A connection whose client reads slower than it is written to."""

    transport: Any
    """Of asyncio; None when the connection is over."""


class Unread:
    """Watches the connections of one door whose buffers are full, in the order in which they became so.

    One whose client reads nothing for a while is cut; and while all of them together hold too much, the one that has
    been full for longest.
    """

    def __init__(self, most_bytes: int, stall_seconds: float) -> None:
        self._most_bytes = most_bytes
        self._stall_seconds = stall_seconds
        self._full: dict[Writer, asyncio.TimerHandle] = {}

    def full(self, connection: Writer) -> None:
        """The connection has more to send than its client takes."""
        if connection not in self._full:
            self._watch(connection, _size(connection))
        while len(self._full) > 1 and sum(map(_size, self._full)) > self._most_bytes:
            self._cut(next(iter(self._full)))

    def gone(self, connection: Writer) -> None:
        """The client took nearly everything, or has gone."""
        timer = self._full.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _watch(self, connection: Writer, size: int) -> None:
        loop = asyncio.get_running_loop()
        self._full[connection] = loop.call_later(self._stall_seconds, self._look, connection, size)

    def _look(self, connection: Writer, before: int) -> None:
        size = _size(connection)
        if size < before:
            self._watch(connection, size)
        else:
            self._cut(connection)

    def _cut(self, connection: Writer) -> None:
        self.gone(connection)
        connection.transport.abort()


def _size(connection: Writer) -> int:
    return int(connection.transport.get_write_buffer_size())
