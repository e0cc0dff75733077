"""Senders that send a byte now and then, or nothing: they cannot hold the doors, the budget, or other senders up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from ares_otel.pipeline import admission
from ares_otel.pipeline.http_door import Limits
from tests.support.door import get, opened, status_of
from tests.support.eventually import eventually
from tests.support.otlp_receiver import PROTOBUF, http_status, running, talk, until
from tests.support.otlp_samples import trace_request

MIB = 1024 * 1024
CONNECTIONS = 2000

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def peers(port: int, count: int, said: bytes) -> AsyncIterator[list[Peer]]:
    """Connections that have said so much, and no more."""
    made: list[Peer] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            made.append((reader, writer))
        yield made
    finally:
        for _, writer in made:
            writer.close()


def head(length: int, port: int) -> bytes:
    lines = ["POST /v1/traces HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Type: {PROTOBUF}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


async def test_two_thousand_connections_with_half_a_header_do_not_keep_others_out() -> None:
    """More than the door takes: the ones that wait for their clients go."""
    async with (
        running({"http": {"max_connections": CONNECTIONS // 2}}) as ares,
        peers(ares.http_port, CONNECTIONS, b"POST /v1/traces HTTP/1.1\r\nHost: local"),
    ):
        body = trace_request().SerializeToString()

        async def accepted() -> bool:
            try:
                return (await ares.post(body)).status_code == 200
            except httpx.TransportError:  # closed at once: in its first second the flood takes every place
                return False

        await eventually(accepted)
        for _ in range(20):
            async with httpx.AsyncClient(base_url=ares.client.base_url, trust_env=False) as another:
                response = await another.post("/v1/traces", content=body, headers={"content-type": PROTOBUF})
                assert response.status_code == 200


async def test_two_thousand_bodies_that_have_stalled_do_not_hold_the_budget() -> None:
    """Each has sent 64 KiB of what it announced: together four times the budget."""
    async with running({"http": {"max_concurrent_requests": 10}}, admission_bytes=32 * MIB) as ares:
        said = head(10 * MIB, ares.http_port) + bytes(64 * 1024)
        async with peers(ares.http_port, CONNECTIONS, said):
            body = bytes(4 * MIB)

            async def accepted() -> bool:
                response = await ares.post(body)
                if response.status_code == 503:
                    http_status(response)
                return response.status_code == 400  # zeros are no request: but they were read

            await eventually(accepted)
    assert ares.admission.used_bytes == 0


async def test_a_body_that_stalls_while_others_need_its_memory_is_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "STALLED_SECONDS", 0.0)
    async with running(admission_bytes=32 * MIB) as ares:
        said = head(10 * MIB, ares.http_port) + bytes(6 * MIB)
        async with peers(ares.http_port, 1, said) as ((reader, _),):
            await until(lambda: ares.admission.used_bytes >= 6 * MIB)
            with ares.admission.reservation() as other:
                other.grow(30 * MIB)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert status_of(answer) == 503
                assert b"retry-after: 1" in answer.lower()
                assert other.held_bytes == ares.admission.used_bytes


async def test_what_is_reserved_follows_what_has_arrived() -> None:
    """A hundred senders announce two gigabytes, and have sent a hundred bytes."""
    async with running() as ares, peers(ares.http_port, 100, head(20 * MIB, ares.http_port) + b"x"):
        await until(lambda: ares.admission.used_bytes >= 100)
        assert ares.admission.used_bytes < 10_000


async def test_the_headers_have_a_deadline_that_a_byte_now_and_then_does_not_move() -> None:
    async with (
        opened(limits=Limits(header_seconds=0.3)) as door,
        peers(door.port, 1, b"GET / HTTP/1.1\r\n") as ((reader, writer),),
    ):

        async def drip() -> None:
            with suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert status_of(await asyncio.wait_for(reader.read(), 30)) == 408
        dripping.cancel()


async def test_the_body_has_a_deadline_that_a_byte_now_and_then_does_not_move() -> None:
    async with opened(limits=Limits(body_seconds=0.3)) as door:
        said = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        async with peers(door.port, 1, said) as ((reader, writer),):

            async def drip() -> None:
                with suppress(ConnectionError):
                    while True:
                        writer.write(b"x")
                        await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            assert status_of(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)) == 408
            dripping.cancel()


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    keeps = get("localhost").replace(b"Connection: close", b"X: y")
    limits = Limits(max_connections=2, stalled_seconds=0.0)
    async with opened(limits=limits) as door, peers(door.port, 2, keeps) as idle:
        for reader, _ in idle:
            assert status_of(await reader.readuntil(b"\r\n\r\n")) == 200
        assert status_of(await talk(door.port, get("localhost"))) == 200
        assert await idle[0][0].read() == b""


async def test_a_connection_that_was_refused_makes_room_too() -> None:
    async with (
        opened(limits=Limits(max_connections=1, stalled_seconds=0.0)) as door,
        peers(door.port, 1, b"GET / HTTP/1.1\r\na b\r\n") as bad,
    ):
        [(reader, _)] = bad
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 400
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        assert status_of(await talk(door.port, get("localhost"))) == 200
        assert wrong == []


async def test_when_all_connections_are_busy_a_new_one_is_told_to_come_back() -> None:
    busy, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(scope: object, receive: object, send: object) -> None:
        busy.release()
        await go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async with opened(slow, limits=Limits(max_connections=2, stalled_seconds=10.0)) as door:
        working = [asyncio.create_task(talk(door.port, get("localhost"))) for _ in range(2)]
        for _ in working:
            await busy.acquire()
        answer = await talk(door.port, get("localhost"))
        assert status_of(answer) == 503
        assert b"retry-after: 1" in answer.lower()
        async with peers(door.port, 5, b"") as more:  # beside the two, one is let in to be told so
            closed = [asyncio.ensure_future(reader.read()) for reader, _ in more]
            await until(lambda: sum(one.done() for one in closed) >= 3)
            assert {b"" if one.exception() else one.result() for one in closed if one.done()} == {b""}
        go.set()
        assert [status_of(await one) for one in working] == [204, 204]
        assert status_of(await talk(door.port, get("localhost"))) == 204


async def test_one_request_too_many_is_told_to_come_back() -> None:
    async with running({"http": {"max_concurrent_requests": 1}}) as ares:
        ares.recording.gate = asyncio.Event()
        body = trace_request().SerializeToString()
        first = asyncio.create_task(ares.post(body))
        await ares.recording.arrived.wait()
        response = await ares.post(body)
        assert response.status_code == 503
        http_status(response)
        ares.recording.gate.set()
        assert (await first).status_code == 200
        assert (await ares.post(body)).status_code == 200
