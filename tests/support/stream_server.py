"""A server of byte streams in a test's own loop that leaves no connection behind."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, handler: Handler, open_: set[asyncio.BaseTransport], gone: asyncio.Event) -> None:
        super().__init__(asyncio.StreamReader(), handler)
        self._open = open_
        self._gone = gone
        self._mine: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mine = transport
        self._open.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._mine is not None:
            self._open.discard(self._mine)
        self._gone.set()
        super().connection_lost(exc)


@asynccontextmanager
async def stream_server(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listens on a free port of loopback, which it yields; `handler` is called for each connection.

    At the end all connections are cut, and it waits until they are gone. A server of `asyncio.start_server` leaves
    open what came in the last moment, whose handler never began, and another test is blamed for it.
    """
    open_: set[asyncio.BaseTransport] = set()
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(handler, open_, gone), "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)  # what was accepted already is made known
        while open_:
            gone.clear()
            for transport in open_:
                assert isinstance(transport, asyncio.WriteTransport)
                transport.abort()
            await gone.wait()
        await server.wait_closed()
