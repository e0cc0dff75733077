"""The HTTP door: who may ask, and what a connection may take."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from ares_otel.pipeline.http_door import Limits
from tests.support.door import get, opened, status_of
from tests.support.otlp_receiver import talk


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:80", "[::1]:8080", "10.1.2.3", "localhost", "LOCALHOST.", "a.localhost:1", "name.example",
     socket.gethostname()],
)  # fmt: skip
async def test_addresses_localhost_and_allowed_names_are_answered(host: str) -> None:
    async with opened(allowed_hosts=["Name.Example"]) as door:
        assert status_of(await talk(door.port, get(host))) == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("evillocalhost", 421),
        ("2130706433", 421),
        ("x/health?", 400),
        ("localhost/../x", 400),
        ("user@localhost", 400),
        ("localhost:99999999", 400),
        ("localhost, evil.example", 400),
        ("", 400),
    ],
)
async def test_other_names_are_refused_before_the_app(host: str, status: int) -> None:
    async with opened(lambda *_: pytest.fail("the app was reached")) as door:
        answer = await talk(door.port, get(host))
        assert status_of(answer) == status
        assert b"text/plain" in answer


async def test_more_than_one_host_header_is_refused_and_none_only_before_http_1_1() -> None:
    async with opened() as door:
        assert status_of(await talk(door.port, get("localhost", "Host: localhost"))) == 400
        assert status_of(await talk(door.port, b"GET / HTTP/1.1\r\n\r\n")) == 400
        assert status_of(await talk(door.port, b"GET / HTTP/1.0\r\n\r\n")) == 200


ORIGINS: list[tuple[list[str], int]] = [
    (["Origin: http://localhost:{port}"], 200),
    (["Origin: HTTP://LOCALHOST:{port}"], 200),
    (["Origin: http://localhost"], 403),
    (["Origin: https://localhost:{port}"], 403),
    (["Origin: http://localhost.evil.example:{port}"], 403),
    (["Origin: null"], 403),
    (["Origin: http://localhost:notaport"], 403),
    (["Origin: http://evil.example"], 403),
    (["Origin: https://app.example"], 200),
    (["Origin: https://localhost", "Sec-Fetch-Site: same-origin"], 200),
    (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], 403),
    (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], 200),
    (["Sec-Fetch-Site: same-site"], 200),
    (["Sec-Fetch-Site: none"], 200),
]


@pytest.mark.parametrize(("headers", "status"), ORIGINS)
async def test_pages_of_other_origins_are_refused(headers: list[str], status: int) -> None:
    async with opened(origin_allowed=lambda origin: origin == "https://app.example") as door:
        lines = [header.format(port=door.port) for header in headers]
        assert status_of(await talk(door.port, get(f"localhost:{door.port}", *lines))) == status


async def test_a_cross_site_navigation_may_look_but_not_write() -> None:
    async with opened() as door:
        post = get("localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate").replace(b"GET", b"POST", 1)
        assert status_of(await talk(door.port, post)) == 403


async def test_host_and_proxy_headers_do_not_change_what_the_app_sees() -> None:
    app = FastAPI()

    @app.get("/who")
    def who(request: Request) -> dict[str, Any]:
        return {"path": request.scope["path"], "client": request.client.host if request.client else None}

    async with opened(app) as door:
        headers = {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https"}
        async with httpx.AsyncClient(base_url=door.url, trust_env=False) as client:
            answer = await client.get("/who", headers=headers)
        assert answer.json() == {"path": "/who", "client": "127.0.0.1"}
        assert "server" not in answer.headers
        assert "date" in answer.headers


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = {
    "length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "a negative length": HEAD + b"Content-Length: -3\r\n\r\n",
    "a signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "bare line feeds": b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n",
    "a bare line feed in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "a folded header": HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "an unknown transfer coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "NUL in a header": HEAD + b"A: b\x00c\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a chunk size that is no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
async def test_ambiguous_http_is_answered_400_and_the_connection_ends(data: bytes) -> None:
    async with opened() as door:
        answer = await talk(door.port, data)
        assert status_of(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1
        assert status_of(await talk(door.port, get("localhost"))) == 200


async def test_garbage_behind_a_request_does_not_spoil_its_answer() -> None:
    async with opened() as door:
        answer = await talk(door.port, HEAD + b"Content-Length: 3\r\n\r\nabc\x00\x01\x02")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"abc")


@pytest.mark.parametrize(
    "headers",
    [b"A: " + b"x" * 100_000 + b"\r\n", b"A: b\r\n" * 10_000, b"".join(b"B%d: x\r\n" % n for n in range(300))],
    ids=["one of 100 kB", "ten thousand", "three hundred"],
)
async def test_too_many_headers_are_answered_431(headers: bytes) -> None:
    async with opened() as door:
        assert status_of(await talk(door.port, HEAD + headers + b"Content-Length: 0\r\n\r\n")) == 431


async def test_a_header_without_end_is_answered_431_while_it_arrives() -> None:
    async with opened(limits=Limits(header_bytes=1000)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET / HTTP/1.1\r\nA: ")
        answer = asyncio.create_task(reader.read())
        for _ in range(100):
            if answer.done():
                break
            writer.write(b"x" * 100)
            await asyncio.sleep(0)
        assert status_of(await answer) == 431
        writer.close()


async def test_a_body_larger_than_the_header_limit_is_no_header() -> None:
    async with opened(limits=Limits(header_bytes=200)) as door:
        body = b"y" * 100_000
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        answer = await talk(door.port, request * 3 + get("localhost"))
        assert answer.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("start", [b"", b"GET / HT", HEAD, b"\r\n", get("localhost").replace(b"close", b"x") + b"GET"])
async def test_headers_that_do_not_arrive_in_time_are_answered_408(start: bytes) -> None:
    async with opened(limits=Limits(header_seconds=0.1)) as door:
        answer = await talk(door.port, start)
        assert status_of(b"HTTP/1.1 " + answer.rpartition(b"HTTP/1.1 ")[2]) == 408


async def test_a_byte_now_and_then_does_not_push_the_deadline_of_headers_back() -> None:
    async with opened(limits=Limits(header_seconds=0.3)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET / HTTP/1.1\r\nA: ")
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait([answer], timeout=0.02)
        assert status_of(await answer) == 408
        writer.close()


@pytest.mark.parametrize("limits", [Limits(body_idle_seconds=0.1), Limits(body_seconds=0.2)], ids=["silent", "slow"])
async def test_a_body_that_does_not_arrive_in_time_is_answered_408(limits: Limits) -> None:
    async with opened(limits=limits) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        while not answer.done():
            if limits.body_seconds < 1:
                writer.write(b"x")
            await asyncio.wait([answer], timeout=0.02)
        assert status_of(await answer) == 408
        writer.close()


async def test_hundreds_of_slow_senders_do_not_keep_others_out() -> None:
    async with opened() as door:
        slow = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(300)]
        for number, (_, writer) in enumerate(slow):
            writer.write(HEAD + (b"Content-Length: 1000000\r\n\r\nx" if number % 2 else b"A: "))
        assert status_of(await talk(door.port, get("localhost"))) == 200
        for _, writer in slow:
            writer.close()


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    async with opened() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.read()).endswith(b"abc")
        writer.close()


async def test_an_expected_body_that_is_not_wanted_is_not_asked_for() -> None:
    async with opened() as door:
        request = b"POST / HTTP/1.1\r\nHost: evil.example\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n"
        assert status_of(await talk(door.port, request)) == 421


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_an_offered_upgrade_is_ignored_and_the_body_is_kept(framing: bytes) -> None:
    """Java's HTTP client offers h2c on its first request; the parser alone would lose the body behind it."""
    upgrade = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    async with opened() as door:
        answer = await talk(door.port, upgrade + framing + get("localhost"))
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert b"\r\n\r\nhello" in answer
        empty = await talk(door.port, upgrade.replace(b"POST", b"GET", 1) + b"\r\n" + get("localhost"))
        assert empty.count(b"HTTP/1.1 200 OK") == 2


async def test_an_upgrade_whose_body_comes_later_keeps_it_too() -> None:
    upgrade = HEAD + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n"
    async with opened() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for part in (upgrade, b"he", b"llo"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await reader.read()).endswith(b"\r\n\r\nhello")
        writer.close()


async def test_an_app_that_fails_is_answered_503_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a bug")

    async with opened(broken) as door:
        assert status_of(await talk(door.port, get("localhost"))) == 503
        assert "ZeroDivisionError" in caplog.text


async def test_an_old_connection_ends_with_its_next_answer_and_says_so() -> None:
    request = HEAD + b"Content-Length: 3\r\n\r\nabc"
    answers: list[bytes] = []
    async with opened(limits=Limits(connection_seconds=0.05)) as door:
        while len(answers) < 2:  # a busy machine may need all the time for one
            answers = []
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            while not answers or b"connection: close" not in answers[-1].lower():
                writer.write(request)
                answers.append(await reader.readuntil(b"\r\n\r\n"))
                assert await reader.readexactly(3) == b"abc"
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert await reader.read() == b""
            writer.close()
