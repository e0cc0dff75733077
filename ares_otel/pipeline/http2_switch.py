"""One port for HTTP/1.1 and gRPC: a connection that begins as HTTP/2 does is relayed to a gRPC server of this process.

What a client says first tells which it is (RFC 9113 §3.4: the connection preface). Until that is there the deadline for
headers runs; then the bytes go to and fro as they are, no faster than the slower side takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ares_otel.pipeline.http_protocol import BoundedProtocol
from ares_otel.pipeline.http_unread import Unread

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_RELAYS = 512
"""HTTP/2 connections at once; one more is closed."""
UNREAD_BYTES = 64 * 1024 * 1024
UNREAD_SECONDS = 60.0
"""What one of the sides may leave unread, see `Unread`."""

Address = tuple[str, int]


class Relays:
    """The relayed connections of one door."""

    def __init__(self, address: Address, *, limit: int = MAX_RELAYS, unread_seconds: float = UNREAD_SECONDS) -> None:
        """
        Args:
            address: where the gRPC server listens: on loopback.
        """
        self._address = address
        self._unread = Unread(UNREAD_BYTES, unread_seconds)
        self._limit = limit
        self._open: set[_Client] = set()

    @property
    def open(self) -> int:
        """How many there are now."""
        return len(self._open)

    def take(self, transport: asyncio.Transport, data: bytes) -> None:
        """Relays a connection of which these bytes have been read."""
        if len(self._open) >= self._limit:
            transport.abort()
            return
        client = _Client(transport, self._unread, self._open.discard)
        self._open.add(client)
        transport.set_protocol(client)
        client.connect(self._address, data)

    async def close(self) -> None:
        """Ends them all. Safe twice."""
        ended = [client.end() for client in list(self._open)]
        await asyncio.gather(*ended, return_exceptions=True)


class _Side(asyncio.Protocol):
    """One of the two ends: what it gets, the other one is given."""

    def __init__(self, unread: Unread) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._unread = unread

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        self._unread.full(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._unread.gone(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.gone(self)
        self.transport = None
        other, self.other = self.other, None
        if other is not None and other.transport is not None:
            other.close()

    def close(self) -> None:
        """Closes when what was written is read, or nobody reads it."""
        if self.transport is not None:
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._unread.full(self)


class _Client(_Side):
    """The client's end, which is there first."""

    def __init__(self, transport: asyncio.Transport, unread: Unread, gone: Callable[[_Client], None]) -> None:
        super().__init__(unread)
        self.transport = transport
        self._gone = gone
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, address: Address, data: bytes) -> None:
        """Opens the other end, and gives it what was read already. Until then nothing more is read."""
        assert self.transport is not None
        self.transport.pause_reading()
        self._connecting = asyncio.create_task(self._connect(address, data), name="relay to gRPC")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(self)
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(exc)

    async def end(self) -> None:
        """Closes both ends."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for side in (self.other, self):
            if side is not None and side.transport is not None:
                side.transport.abort()

    async def _connect(self, address: Address, data: bytes) -> None:
        try:
            loop = asyncio.get_running_loop()
            transport, server = await loop.create_connection(lambda: _Side(self._unread), *address)
        except OSError:
            if self.transport is not None:
                self.transport.abort()
            return
        if self.transport is None or self.transport.is_closing():
            transport.abort()
            return
        server.other, self.other = self, server
        transport.write(data)
        self.transport.resume_reading()


def switching(base: type[asyncio.Protocol], relays: Relays) -> type[asyncio.Protocol]:
    """The protocol class of a door, which hands HTTP/2 connections over."""
    assert issubclass(base, BoundedProtocol)

    class Switching(base):  # type: ignore[valid-type, misc]
        _first: bytes | None = b""

        def data_received(self, data: bytes) -> None:
            if self._first is None:
                super().data_received(data)
                return
            self._first += data
            if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
                return
            data, self._first = self._first, None
            if not data.startswith(PREFACE) or self._refused or not self._admitted:
                super().data_received(data)
                return
            transport = self.transport
            super().connection_lost(ConnectionResetError())  # gone for HTTP/1.1, and not closed
            relays.take(transport, data)

    return Switching
