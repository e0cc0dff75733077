"""For tests of the registry: a bus that remembers, services of the past, and servers that health checks meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.support.stream_server import stream_server


@dataclass
class Recorded:
    """What a bus was given."""

    events: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)

    async def publish(self, topic: str, data: Any, *, id: str | None = None) -> None:
        self.events.append((topic, data, id))

    def topics(self, name: str) -> list[str]:
        """The topics of a service's events, in order."""
        return [topic for topic, data, _ in self.events if data["name"] == name]


async def age(pool: asyncpg.Pool, name: str, seconds: float, *columns: str) -> None:
    """Makes times of a service older: all signs of life, or only these columns."""
    names = columns or ("last_heartbeat", "last_registration", "last_registration_heartbeat", "last_telemetry")
    moved = ", ".join(f"{column} = {column} - make_interval(secs => $2)" for column in names)
    await pool.execute(f"UPDATE service_registry SET {moved} WHERE name = $1", name, seconds)


async def history(pool: asyncpg.Pool, name: str) -> list[tuple[str | None, str]]:
    """(old, new) of a service's changes, oldest first."""
    rows = await pool.fetch("SELECT * FROM service_status_history WHERE service_name = $1 ORDER BY id", name)
    return [(row["old_status"], row["new_status"]) for row in rows]


Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HealthServer:
    """A server that answers every request as `answer` does, and counts them by path."""

    port: int
    seen: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


async def _answer(server: HealthServer, path: str, writer: asyncio.StreamWriter) -> None:
    def head(status: str, *headers: str) -> bytes:
        return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode()

    kind, _, rest = path.split("?")[0].lstrip("/").partition("/")
    if kind == "ok":
        writer.write(head("200 OK", "Content-Length: 2") + b"ok")
    elif kind == "error":
        writer.write(head("500 Internal Server Error", "Content-Length: 0"))
    elif kind == "hang":
        await asyncio.sleep(3600)
    elif kind == "huge":
        writer.write(head("200 OK", "Content-Length: 1000000000000"))
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    elif kind == "drip":
        for byte in head("200 OK"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.2)
    elif kind == "redirect":
        writer.write(head("302 Found", f"Location: {rest}", "Content-Length: 0"))
    elif kind == "loop":
        writer.write(head("302 Found", "Location: /loop", "Content-Length: 0"))
    elif kind == "headers":
        writer.write(head("200 OK", *(f"X-{number}: {'x' * 1000}" for number in range(1000))))
    else:
        writer.write(b"\x00\xff nonsense\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def health_server() -> AsyncIterator[HealthServer]:
    """A server with the paths /ok, /error, /hang, /huge, /drip, /redirect/URL, /loop, /headers, /garbage."""
    made = HealthServer(0)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            text = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = text.split(" ")[1]
            made.seen.append(path)
            made.heads.append(text)
            await _answer(made, path, writer)
        with suppress(OSError, asyncio.CancelledError):
            writer.close()
        tasks.discard(task)

    async with stream_server(serve) as made.port:
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
