"""One port for HTTP/1.1 and gRPC: who begins as HTTP/2 does is relayed, byte for byte, and bounded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ares_otel.pipeline.http2_switch import PREFACE, Relays
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.stream_server import stream_server


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def echoing(limit: int = 10, **options: Any) -> AsyncIterator[tuple[HttpDoor, Relays]]:
    """A door in front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with stream_server(echo) as port:
        relays = Relays(("127.0.0.1", port), limit=limit, **options)
        door = HttpDoor("test", hello, host="127.0.0.1", port=0, setting="--port", relays=relays)
        await door.start()
        try:
            yield door, relays
        finally:
            await door.stop()


async def test_every_byte_passes_in_both_directions() -> None:
    async with echoing() as (door, relays):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        sent = PREFACE + os.urandom(3_000_000)

        async def send() -> None:
            for start in range(0, len(sent), 7):  # the preface comes in pieces
                writer.write(sent[start : start + 7])
                if start > 70:
                    writer.write(sent[start + 7 :])
                    break
                await writer.drain()
                await asyncio.sleep(0)
            await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(sent)) == sent
        await sending
        assert relays.open == 1
        writer.close()
        await eventually(lambda: asyncio.sleep(0, relays.open == 0), every=0.01)


async def test_http_1_goes_on_beside_it() -> None:
    async with echoing() as (door, _), httpx.AsyncClient(base_url=door.url, trust_env=False) as http:
        for method in ("GET", "POST", "PUT", "PATCH"):  # three of them begin as the preface does
            assert (await http.request(method, "/")).text == "hello"


async def test_one_connection_too_many_is_closed() -> None:
    async with echoing(limit=1) as (door, relays):
        first = await asyncio.open_connection("127.0.0.1", door.port)
        first[1].write(PREFACE)
        assert await first[0].readexactly(len(PREFACE)) == PREFACE
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(PREFACE)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
        assert relays.open == 1
        first[1].close()


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async with echoing(unread_seconds=1.0) as (door, relays):
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1024)
        writer.write(PREFACE + bytes(64 * 1024 * 1024))
        await eventually(lambda: asyncio.sleep(0, relays.open == 1), every=0.01)
        await eventually(lambda: asyncio.sleep(0, relays.open == 0), every=0.01)
        writer.transport.abort()


async def test_a_server_that_is_not_there_ends_the_connection() -> None:
    relays = Relays(("127.0.0.1", free_port()))
    door = HttpDoor("test", hello, host="127.0.0.1", port=0, setting="--port", relays=relays)
    await door.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(PREFACE)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(1)
    writer.close()
    await door.stop()
    assert relays.open == 0


async def test_the_end_of_the_door_is_the_end_of_its_relays() -> None:
    async with echoing() as (door, relays):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(PREFACE)
        await reader.readexactly(len(PREFACE))
        await door.stop()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
        await eventually(lambda: asyncio.sleep(0, relays.open == 0), every=0.01)
