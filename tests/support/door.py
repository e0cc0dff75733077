"""An HTTP door of its own for a test, and what is said to it over a plain socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from ares_otel.pipeline.http_door import HttpDoor


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body of the request."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def opened(app: Any = echo, **options: Any) -> AsyncIterator[HttpDoor]:
    given = {"host": "127.0.0.1", "port": 0, "setting": "--http-port", **options}
    door = HttpDoor("test", app, **given)
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


def get(host: str, *headers: str, path: str = "/") -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
