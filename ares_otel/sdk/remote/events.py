"""Server-sent events from bytes (WHATWG HTML, 9.2.6), within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT = 40 * 1024 * 1024
"""Bytes of an event: Ares sends at most 32 MiB of settings, and what is around them."""


class Event(NamedTuple):
    """One event."""

    name: str
    data: bytes
    id: str


class TooLarge(ValueError):
    """An event is larger than any that Ares sends."""


class EventParser:
    """Bytes in, in any pieces; events out. Never holds more than `limit` bytes, and looks at each byte once."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._ended_with_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._name = self._id = ""
        self._first = True

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that end in this piece.

        Raises:
            TooLarge: the stream is not to be read further.
        """
        start = 0
        if self._ended_with_cr and data[:1] == b"\n":
            start = 1
        if data:
            self._ended_with_cr = False
        while start < len(data):
            end = _line_end(data, start)
            if end < 0:
                self._keep(data[start:])
                return
            self._keep(data[start:end])
            start = end + 1
            if data[end] == 13:  # CR alone, or the first half of CRLF
                if start == len(data):
                    self._ended_with_cr = True
                elif data[start] == 10:
                    start += 1
            if (event := self._take_line()) is not None:
                yield event

    def _keep(self, piece: bytes) -> None:
        if self._size + len(self._line) + len(piece) > self._limit:
            raise TooLarge
        self._line += piece

    def _take_line(self) -> Event | None:
        line, self._line = bytes(self._line), bytearray()
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            event = Event(self._name or "message", b"\n".join(self._data), self._id) if self._data else None
            self._clear()
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == b"event":
            self._name = value[:100].decode(errors="replace")
        elif name == b"id":
            self._id = value[:100].decode(errors="replace")
        return None  # comments, retry, and what nobody knows

    def _clear(self) -> None:
        self._data = []
        self._size = 0
        self._name = self._id = ""


def _line_end(data: bytes, start: int) -> int:
    """Where the next CR or LF stands; -1 for nowhere."""
    newline = data.find(b"\n", start)
    carriage = data.find(b"\r", start, len(data) if newline < 0 else newline)
    return newline if carriage < 0 else carriage
