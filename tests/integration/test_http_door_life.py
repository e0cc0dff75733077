"""How an HTTP door opens, and how it closes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from ares_otel.model.errors import StartError
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.door import echo, get, opened, status_of
from tests.support.otlp_receiver import talk


async def test_an_occupied_port_is_one_clear_line() -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdout is not None
    port = int(await other.stdout.readline())
    with pytest.raises(
        StartError, match=rf"127.0.0.1:{port} is in use by .*process {other.pid}\); stop it, or set --http-port"
    ):
        async with opened(port=port):
            pass
    await other.communicate(b"\n")


async def test_a_port_of_another_door_of_the_same_ares_is_one_clear_line() -> None:
    async with opened() as door:
        with pytest.raises(StartError, match=rf"127.0.0.1:{door.port} is in use by another door of this Ares"):
            async with opened(port=door.port):
                pass


@pytest.mark.parametrize(("host", "words"), [("no.such.name.invalid", "not a known host"), ("192.0.2.1", "No address")])
async def test_a_host_that_is_not_here_is_one_clear_line(host: str, words: str) -> None:
    with pytest.raises(StartError, match=f"{words}.*--http-port"):
        async with opened(host=host):
            pass


async def test_localhost_listens_on_every_address_it_has() -> None:
    async with opened(host="localhost") as door:
        assert door.url == f"http://localhost:{door.port}"
        for *_, address in socket.getaddrinfo("localhost", door.port, type=socket.SOCK_STREAM):
            async with httpx.AsyncClient(trust_env=False) as client:
                host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
                assert (await client.get(f"http://{host}:{door.port}/")).status_code == 200


async def test_closing_finishes_requests_in_flight_and_can_be_repeated() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await go.wait()
        await echo(scope, receive, send)

    async with opened(waiting) as door:
        answer = asyncio.create_task(talk(door.port, get("localhost")))
        await started.wait()
        stopping = asyncio.create_task(door.stop())
        await asyncio.sleep(0.05)
        go.set()
        assert status_of(await answer) == 200
        await stopping
        await door.stop()
        with pytest.raises(OSError):
            await talk(door.port, get("localhost"))


async def test_what_is_not_finished_within_the_grace_is_answered_503() -> None:
    started = asyncio.Event()

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    async with opened(stuck, grace=Grace(0)) as door:
        answer = asyncio.create_task(talk(door.port, get("localhost")))
        await started.wait()
        await door.stop()
        assert status_of(await answer) == 503


async def test_a_door_that_was_never_opened_closes() -> None:
    await HttpDoor("test", echo, host="127.0.0.1", port=0, setting="--http-port").stop()


async def test_the_lifespan_of_an_app_surrounds_the_listening() -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        events.append("start")
        yield
        events.append("stop")

    async with opened(FastAPI(lifespan=lifespan), lifespan="on"):
        assert events == ["start"]
    assert events == ["start", "stop"]

    @asynccontextmanager
    async def failing(app: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    with pytest.raises(StartError, match="could not start its application"):
        async with opened(FastAPI(lifespan=failing), lifespan="on"):
            pass
