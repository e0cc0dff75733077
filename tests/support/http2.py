"""Raw HTTP/2 frames (RFC 9113): just enough to see what a gRPC server does with a connection that has no call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ENHANCE_YOUR_CALM = 11


class Frame(NamedTuple):
    kind: int
    flags: int
    body: bytes


class RawHttp2:
    """A connection that has sent its preface; a context manager."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)

    async def __aenter__(self) -> RawHttp2:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def send(self, kind: int, flags: int = 0, body: bytes = b"", stream: int = 0) -> None:
        self._writer.write(len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body)

    def call(self, method: str, stream: int = 1) -> None:
        """Begins a call, without its message: `/package.Service/Method`."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": self._host,
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self.send(HEADERS, 4, b"".join(_literal(name) + _literal(value, b"") for name, value in fields.items()), stream)

    async def frame(self) -> Frame | None:
        """The next frame; None when the server has closed the connection."""
        try:
            head = await asyncio.wait_for(self._reader.readexactly(9), 30)
            body = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(head[3], head[4], body)

    async def until(self, kind: int) -> Frame | None:
        """The next frame of that kind, acknowledgements of ours left out; None when the connection ends first.
        The server's settings are acknowledged on the way, its pings are not."""
        while (frame := await self.frame()) is not None:
            if frame.kind == SETTINGS and not frame.flags & 1:
                self.send(SETTINGS, 1)
            if frame.kind == kind and not (kind == PING and frame.flags & 1):
                return frame
        return None


def _literal(text: str, before: bytes = b"\0") -> bytes:
    """A string of a header field that is in no table (RFC 7541 §6.2.2); `before` begins the field."""
    return before + bytes([len(text)]) + text.encode()
