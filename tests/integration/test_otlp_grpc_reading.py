"""A gRPC message is read when there is room for it, and only one of them a call."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from ares_otel.model.signal import TRACES
from ares_otel.pipeline import grpc_reading as reading
from tests.support.eventually import eventually
from tests.support.http2 import DATA, HEADERS, RST_STREAM, RawHttp2
from tests.support.otlp_receiver import detail, export, export_error, grpc_status, running, until
from tests.support.otlp_samples import trace_request

MIB = 1024 * 1024
METHOD = f"/{TRACES.service}/Export"
REFUSED = {"receiver": "otlp", "transport": "grpc", "signal": "traces", "reason": "overloaded"}


async def stream(target: str, messages: AsyncIterator[bytes]) -> Any:
    """Calls Export as a stream of messages, which unary callers never do."""
    async with grpc.aio.insecure_channel(target) as channel:
        return await channel.stream_unary(METHOD, None, None)(messages, timeout=30)


async def test_an_empty_message_is_an_empty_request() -> None:
    async with running() as ares:
        assert await export(ares.grpc_target, b"") == TRACES.response()


async def test_two_messages_in_one_call_are_an_error_and_neither_is_stored() -> None:
    async def two() -> AsyncIterator[bytes]:
        yield trace_request().SerializeToString()
        yield trace_request().SerializeToString()

    async with running() as ares:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(ares.grpc_target, two())
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "more than one" in str(caught.value.details())
        assert ares.recording.batches == []


async def test_a_call_without_a_message_is_an_error() -> None:
    async def none() -> AsyncIterator[bytes]:
        for message in list[bytes]():
            yield message

    async with running() as ares:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(ares.grpc_target, none())
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_stops_in_the_middle_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.Reading.__init__, "__kwdefaults__", {"seconds": 0.2})
    async with running() as ares, RawHttp2(ares.grpc_target) as peer:
        peer.call(METHOD)
        peer.send(DATA, 0, b"\0" + (1000).to_bytes(4, "big") + b"only a part", 1)
        trailers = await peer.until(HEADERS)
        assert trailers is not None
        assert b"grpc-status" in trailers.body
        assert await peer.until(RST_STREAM) is not None
        await until(lambda: ares.admission.used_bytes == 0)
        assert await export(ares.grpc_target, trace_request()) == TRACES.response()
        assert ares.count("ares_otel_receiver_refused_requests", **REFUSED)


async def test_a_sender_that_leaves_in_the_middle_gives_its_place_back() -> None:
    async with running() as ares:
        async with RawHttp2(ares.grpc_target) as peer:
            peer.call(METHOD)
            peer.send(DATA, 0, b"\0" + (1000).to_bytes(4, "big") + b"only a part", 1)
            await until(lambda: ares.admission.used_bytes)
        await until(lambda: not ares.admission.used_bytes)


async def test_stalled_messages_on_many_connections_do_not_keep_others_out() -> None:
    """Three times as many as there are places."""
    async with running(admission_bytes=32 * MIB) as ares:
        peers = [RawHttp2(ares.grpc_target) for _ in range(12)]
        for peer in peers:
            await peer.__aenter__()
            peer.call(METHOD)
            peer.send(DATA, 0, b"\0" + (4 * MIB - 100).to_bytes(4, "big") + b"only a part", 1)
        await until(lambda: ares.admission.used_bytes == 16 * MIB)
        accepted = 0

        async def accepts() -> bool:
            nonlocal accepted
            try:
                await export(ares.grpc_target, trace_request())
            except grpc.aio.AioRpcError as error:
                return error.code() != grpc.StatusCode.UNAVAILABLE
            accepted += 1
            return accepted == 20

        await eventually(accepts)
        for peer in peers:
            await peer.__aexit__(None, None, None)
        assert len(ares.recording.batches) == 20


async def test_when_the_budget_is_used_up_messages_are_refused_at_once() -> None:
    async with running(admission_bytes=32 * MIB) as ares:
        with ares.admission.reservation() as others:
            others.grow(30 * MIB)
            error = await export_error(ares.grpc_target, bytes(3 * MIB))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert detail(grpc_status(error), RetryInfo) is not None


async def test_messages_that_nobody_has_room_for_are_not_in_memory() -> None:
    """A quarter of a gigabyte is offered at once, by another process; 32 MiB are allowed."""
    arguments = ("-m", "tests.support.grpc_room")
    one_heap = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # how the C library parts it among threads is another matter
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, env=one_heap
    )
    said = json.loads((await receiver.communicate())[0])
    assert said["codes"].keys() == {"OK", "UNAVAILABLE"}
    assert sum(said["codes"].values()) == 64
    assert said["more"] < 80 * MIB, f"{said['more'] / MIB:.0f} MiB more"


async def test_a_connection_is_told_how_many_calls_it_may_have_in_flight() -> None:
    """RFC 9113 §6.5.2: SETTINGS_MAX_CONCURRENT_STREAMS is setting 3."""
    for protocol, streams in (({}, 100), ({"max_concurrent_streams": 7}, 7)):
        async with running({"grpc": protocol}) as ares, RawHttp2(ares.grpc_target) as peer:
            settings = await peer.frame()
            assert settings is not None
            entries = [settings.body[at : at + 6] for at in range(0, len(settings.body), 6)]
            assert b"\0\3" + streams.to_bytes(4, "big") in entries


async def test_one_connection_too_many_is_closed_and_goes_when_another_one_has_gone() -> None:
    async with running({"grpc": {"max_allowed_incoming_connections": 2}}) as ares:
        async with RawHttp2(ares.grpc_target) as first, RawHttp2(ares.grpc_target) as second:
            assert await first.frame() is not None
            assert await second.frame() is not None
            async with RawHttp2(ares.grpc_target) as third:
                assert await third.frame() is None

        async def connects() -> bool:
            async with RawHttp2(ares.grpc_target) as fourth:
                return await fourth.frame() is not None

        await eventually(connects)


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares_otel.receivers.otlp.grpc_server._HANDSHAKE_MS", 200)
    async with running({"grpc": {}}) as ares:
        host, _, port = ares.grpc_target.rpartition(":")
        for said in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            await asyncio.wait_for(reader.read(), 30)
            writer.close()
