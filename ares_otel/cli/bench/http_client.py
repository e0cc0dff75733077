"""The least that an HTTP client has to do: one request after the other on an open connection."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class HttpClient:
    """One connection that is kept open. What a larger client costs would be measured as the server's time."""

    def __init__(self, url: str) -> None:
        """Args: url: scheme, host and port."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._netloc = parts.netloc
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1024 * 1024)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: {self._netloc}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """Status and body."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._netloc}\r\nContent-Type: {content_type}\r\n"
        return await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = self._reader = None

    async def _ask(self, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            await self.open()
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(head)
        if body:
            self._writer.write(body)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = await self._read_body(fields)
        if fields.get("connection", "").lower() == "close":
            await self.close()
        return int(lines[0].split(" ", 2)[1]), answer

    async def _read_body(self, fields: dict[str, str]) -> bytes:
        assert self._reader is not None
        if fields.get("transfer-encoding", "").lower() != "chunked":
            return await self._reader.readexactly(int(fields.get("content-length", 0)))
        parts = []
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(parts)
