"""Several messages to PostgreSQL in one piece, and their answers in another: a flight.

The driver sends one message, waits for the answer, and so on: a dozen times in a transaction of two tables, and each of
them costs both sides a wake-up. For the transactions of the writer, which are always the same, its connection is
borrowed: the driver connects, authenticates and closes, and in between its transport is spoken to directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncpg

from ares_otel.storage.messages import error_fields

Piece = bytes | bytearray | memoryview

_JOINED = 64 * 1024
"""Pieces up to this size are joined, to be sent at once; larger ones are not copied."""
_LARGEST = 1024 * 1024
"""Bytes of a message from the server, of which none is expected to have more than a few hundred."""
_ROWS = 10_000
"""Rows in an answer; nothing asks for as many."""


def can_fly(connection: asyncpg.Connection) -> bool:
    """Whether the driver is one whose transport is found."""
    return hasattr(getattr(connection, "_transport", None), "set_protocol")


class Flight(asyncio.Protocol):
    """One flight over a connection on which nothing is under way. Not to be used twice."""

    def __init__(self, connection: asyncpg.Connection, answers: int) -> None:
        """
        Args:
            answers: times that the server will say that it is ready, once for each query or Sync.
        """
        self._connection = connection
        self._transport = cast(asyncio.Transport, connection._transport)
        self._drivers = self._transport.get_protocol()
        self._left = answers
        self._landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._buffer = b""
        self.rows: list[bytes] = []
        """Bodies of the DataRow messages that came."""
        self.parsed = False
        """Whether a statement was prepared."""
        self.refused = False
        """Whether the server refused something before the last answer."""
        self._complete = False
        self._error: BaseException | None = None
        """The first one of the server, or what broke the connection."""

    async def run(self, pieces: Sequence[Piece]) -> None:
        """Sends the pieces and waits for all answers. Between larger pieces the server's pace is felt, and others get
        their turn.

        When not all of them come, the connection is closed.

        Raises:
            asyncpg.PostgresError: the server's first error.
            asyncpg.ConnectionDoesNotExistError: the connection broke.
        """
        if self._connection.is_closed() or self._transport.is_closing():
            raise _lost()
        self._transport.set_protocol(self)
        try:
            await self._send(pieces)
            await self._landed
        finally:
            self._transport.set_protocol(self._drivers)
            if not self._complete:
                self._connection.terminate()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it refers to this frame: together they would keep the rows until the collector comes

    async def _send(self, pieces: Sequence[Piece]) -> None:
        joined: list[Piece] = []
        size = 0
        for piece in pieces:
            if size + len(piece) > _JOINED and joined:
                await self._write(b"".join(joined))
                joined, size = [], 0
            if len(piece) > _JOINED:
                await self._write(piece)
            else:
                joined.append(piece)
                size += len(piece)
        if joined:
            await self._write(b"".join(joined))

    async def _write(self, piece: Piece) -> None:
        if not self._may_write.is_set():
            await self._may_write.wait()
        if not self._landed.done():
            self._transport.write(piece)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        while end - at >= 5:
            size = int.from_bytes(data[at + 1 : at + 5], "big") + 1
            if size > _LARGEST:
                self._break(asyncpg.InternalClientError("The server sent a message of more than a megabyte."))
                return
            if end - at < size:
                break
            self._answer(data[at], data, at + 5, at + size)
            at += size
        self._buffer = data[at:]

    def _answer(self, kind: int, data: bytes, start: int, end: int) -> None:
        """Takes one message. Those that need no answer (of settings, notices, what was done) are passed over."""
        if kind == 0x5A:  # Z, ReadyForQuery
            self._left -= 1
            if not self._left:
                self._complete = True
                self._land()
        elif kind == 0x44:  # D, DataRow
            if len(self.rows) == _ROWS:
                self._break(asyncpg.InternalClientError("The server sent more rows than anybody asked for."))
                return
            self.rows.append(data[start:end])
        elif kind == 0x45:  # E, ErrorResponse
            if self._error is None:
                self._error = asyncpg.PostgresError.new(error_fields(data[start:end]))
                self.refused = self._left > 1
        elif kind == 0x31:  # 1, ParseComplete
            self.parsed = True

    def _break(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._land()

    def _land(self) -> None:
        if not self._landed.done():
            self._landed.set_result(None)
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(_lost())
        cast(Any, self._drivers).connection_lost(exc)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()


def _lost() -> asyncpg.PostgresError:
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
