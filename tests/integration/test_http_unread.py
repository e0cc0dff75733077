"""Answers that nobody reads end: a client that stands still holds neither memory nor a connection for long."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ares_otel.pipeline.http_protocol import Limits
from tests.support.door import get, opened
from tests.support.eventually import eventually

MIB = 1024 * 1024


class Long:
    """An answer of so many MiB, one piece each; and which of them were given up."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.size):
            await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended.append(scope["path"])

    async def have_begun(self, *paths: str) -> None:
        await eventually(lambda: asyncio.sleep(0, self.begun == list(paths)), every=0.01)

    async def have_ended(self, *paths: str) -> None:
        await eventually(lambda: asyncio.sleep(0, self.ended == list(paths)), every=0.01)


async def asked(port: int, path: str) -> socket.socket:
    """A client that takes next to nothing before it reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, get("localhost", path=path))
    return client


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    answer = Long(64)
    async with opened(answer, limits=Limits(unread_seconds=0.2)) as door:
        with await asked(door.port, "/1"):
            await answer.have_ended("/1")


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    answer, loop = Long(32), asyncio.get_running_loop()
    async with opened(answer, limits=Limits(unread_seconds=1.0)) as door:
        with await asked(door.port, "/1") as client:
            got = paused = 0
            while part := await loop.sock_recv(client, MIB):
                got += len(part)
                if got // (3 * MIB) > paused:
                    paused += 1
                    await asyncio.sleep(0.12)  # what is tested: longer than `unread_seconds` in all
    assert got > 32 * MIB


async def test_of_too_many_unread_answers_the_oldest_is_given_up() -> None:
    answer = Long(1)

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        async def send_at_once(message: Any) -> None:
            await send({**message, "body": 40 * message["body"]} if message.get("body") else message)

        await answer(scope, receive, send_at_once)

    async with opened(whole, limits=Limits(unread_bytes=100 * MIB)) as door:
        first = await asked(door.port, "/1")
        await answer.have_begun("/1")
        second = await asked(door.port, "/2")
        await answer.have_begun("/1", "/2")
        third = await asked(door.port, "/3")
        await answer.have_ended("/1")
        assert answer.begun == ["/1", "/2", "/3"]
        for client in (first, second, third):
            client.close()
        await eventually(lambda: asyncio.sleep(0, len(answer.ended) == 3), every=0.01)
