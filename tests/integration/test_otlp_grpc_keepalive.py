"""OTLP receiver: every keepalive option changes what the server does (statement 8 of docs/conformance.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.http2 import ENHANCE_YOUR_CALM, GOAWAY, PING, RawHttp2
from tests.support.otlp_receiver import export, export_error, running
from tests.support.otlp_samples import trace_request

PINGS = 8


def keepalive(**options: Any) -> dict[str, Any]:
    return {"grpc": {"keepalive": options}}


async def pings_until_goaway(target: str) -> int:
    """How many pings in a row are answered before the server has enough; -1 when it never has."""
    async with RawHttp2(target) as connection:
        for number in range(PINGS):
            connection.send(PING, body=number.to_bytes(8, "big"))
            while (frame := await connection.frame()) is not None:
                if frame.kind == GOAWAY:
                    assert int.from_bytes(frame.body[4:8], "big") == ENHANCE_YOUR_CALM
                    return number
                if frame.kind == PING and frame.flags & 1:
                    break
            else:
                return number
    return -1


async def test_a_client_that_pings_too_often_is_sent_away() -> None:
    """Statement 8. Without calls a client may ping once in two hours, with permit_without_stream once in min_time."""
    async with running({"grpc": None}) as ares:
        assert await pings_until_goaway(ares.grpc_target) > 0
    strict = keepalive(enforcement_policy={"permit_without_stream": True})
    async with running(strict) as ares:
        assert await pings_until_goaway(ares.grpc_target) > 0


async def test_min_time_and_permit_without_stream_let_a_client_ping() -> None:
    """Statement 8."""
    async with running(keepalive(enforcement_policy={"min_time": "0s", "permit_without_stream": True})) as ares:
        assert await pings_until_goaway(ares.grpc_target) == -1
    async with running(keepalive(enforcement_policy={"min_time": "0s"})) as ares:
        assert await pings_until_goaway(ares.grpc_target) > 0


async def test_max_connection_idle_ends_a_connection_without_calls() -> None:
    """Statement 8."""
    options = keepalive(server_parameters={"max_connection_idle": "100ms"})
    async with running(options) as ares, RawHttp2(ares.grpc_target) as connection:
        assert await connection.until(GOAWAY) is not None


async def test_max_connection_age_ends_a_connection_and_the_next_one_works() -> None:
    """Statement 8."""
    options = keepalive(server_parameters={"max_connection_age": "100ms", "max_connection_age_grace": "100ms"})
    async with running(options) as ares:
        async with RawHttp2(ares.grpc_target) as connection:
            assert await connection.until(GOAWAY) is not None
        await export(ares.grpc_target, trace_request())


async def test_max_connection_age_grace_ends_calls_that_take_too_long() -> None:
    """Statement 8."""
    options = keepalive(server_parameters={"max_connection_age": "100ms", "max_connection_age_grace": "100ms"})
    async with running(options) as ares:
        ares.recording.gate = asyncio.Event()
        await export_error(ares.grpc_target, trace_request())
        assert ares.count("otelcol_receiver_refused_spans", receiver="otlp", transport="grpc") == 3


async def test_a_silent_client_is_pinged_after_time_and_dropped_after_timeout() -> None:
    """Statement 8."""
    life, policy = {"time": "1s", "timeout": "1s"}, {"permit_without_stream": True}
    options = keepalive(server_parameters=life, enforcement_policy=policy)
    async with running(options) as ares, RawHttp2(ares.grpc_target) as connection:
        assert await connection.until(PING) is not None
        assert await connection.until(PING) is None
