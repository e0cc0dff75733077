"""OTLP receiver: limits, bombs and the memory budget (statements 11 to 13 of docs/conformance.md)."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import psutil
import pytest
import zstandard
from google.rpc.error_details_pb2 import RetryInfo

from ares_otel.model.signal import TRACES
from tests.support.otlp_receiver import (
    JSON,
    PROTOBUF,
    detail,
    export,
    export_error,
    grpc_status,
    http_status,
    running,
    until,
)
from tests.support.wire import varint

MIB = 1024 * 1024


def request_of(size: int) -> bytes:
    """A valid traces request of exactly `size` bytes (at least 32): an unknown field of zeros."""
    empty = TRACES.request()
    head = size - 8
    while True:
        body = b"\x7a" + varint(head) + bytes(head)
        if len(body) == size:
            empty.ParseFromString(body)
            return body
        head -= len(body) - size


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=str)
async def test_a_grpc_message_over_the_limit_is_resource_exhausted_and_not_to_be_retried(
    compression: grpc.Compression,
) -> None:
    """Statement 11."""
    async with running() as ares:
        assert await export(ares.grpc_target, request_of(4 * MIB), compression=compression) == TRACES.response()
        error = await export_error(ares.grpc_target, request_of(4 * MIB + 1), compression=compression)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        status = grpc_status(error)
        assert status is None or detail(status, RetryInfo) is None


async def test_the_limit_of_grpc_messages_is_configurable() -> None:
    """Statement 11."""
    async with running({"grpc": {"max_recv_msg_size_mib": 1}}) as ares:
        assert await export(ares.grpc_target, request_of(MIB)) == TRACES.response()
        error = await export_error(ares.grpc_target, request_of(MIB + 1), compression=grpc.Compression.Gzip)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    async with running({"grpc": {"max_recv_msg_size_mib": 9}}) as ares:
        assert await export(ares.grpc_target, request_of(9 * MIB)) == TRACES.response()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
async def test_an_http_body_over_the_limit_is_answered_413(content_type: str) -> None:
    """Statement 12."""
    async with running({"http": {"max_request_body_size": 1000}}) as ares:
        full = b'{"a":"' + b"x" * 992 + b'"}' if content_type == JSON else request_of(1000)
        assert len(full) == 1000
        assert (await ares.post(full, content_type=content_type)).status_code == 200
        response = await ares.post(full + b" ", content_type=content_type)
        assert response.status_code == 413
        assert "max_request_body_size" in http_status(response).message
        assert response.headers["connection"] == "close"
        inflated = await ares.post(gzip.compress(full + b" "), content_type=content_type, content_encoding="gzip")
        assert inflated.status_code == 413
        http_status(inflated)


async def test_the_limit_of_http_bodies_is_20_mib_by_default() -> None:
    """Statement 12. The client gets the whole answer although it was still sending."""
    async with running() as ares:
        assert (await ares.post(request_of(20 * MIB))).status_code == 200
        response = await ares.post(request_of(20 * MIB + 1))
        assert response.status_code == 413
        http_status(response)


async def test_a_body_without_a_length_is_limited_by_what_arrives() -> None:
    """Statement 13."""

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(21):
            yield bytes(MIB)

    async with running() as ares:
        response = await ares.client.post("/v1/traces", content=stream(), headers={"content-type": PROTOBUF})
        assert response.status_code == 413
        http_status(response)
        assert (await ares.post(b"")).status_code == 200


async def test_a_false_content_length_gets_nothing_past_the_limit() -> None:
    """Statement 13. Less than announced never becomes a request; what is more than announced is no request."""
    head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with running({"http": {"max_request_body_size": 1000}}) as ares:
        more = await ares.raw(head + b"Content-Length: 2\r\n\r\n{}" + b"x" * 5000)
        assert more.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in more
        assert more.count(b"HTTP/1.1 ") == 1
        assert not ares.recording.batches
        announced = await ares.raw(head + b"Content-Length: 5000\r\nConnection: close\r\n\r\n" + b"x" * 5000)
        assert announced.startswith(b"HTTP/1.1 413 ")
        huge = await ares.raw(head + b"Content-Length: 99999999999999999999999\r\n\r\n")
        assert huge.startswith(b"HTTP/1.1 400 ")


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", BOMBS)
async def test_a_bomb_over_http_is_refused_before_it_is_inflated(encoding: str) -> None:
    """Statement 12. A quarter of a gigabyte in kilobytes costs no more memory than the limit allows."""
    bomb = BOMBS[encoding](bytes(256 * MIB))
    async with running() as ares:
        before = psutil.Process().memory_info().rss
        response = await ares.post(bomb, content_encoding=encoding)
        assert response.status_code == 413
        http_status(response)
        assert psutil.Process().memory_info().rss - before < 64 * MIB
        assert ares.count(
            "ares_otel_receiver_refused_requests",
            receiver="otlp",
            transport="http",
            signal="traces",
            reason="too_large",
        )


async def test_a_bomb_over_grpc_is_refused_before_it_is_inflated() -> None:
    """Statement 11."""
    bomb = gzip.compress(bytes(256 * MIB))
    async with running() as ares:
        before = psutil.Process().memory_info().rss
        error = await export_error(ares.grpc_target, bomb)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail(grpc_status(error), RetryInfo) is None
        assert psutil.Process().memory_info().rss - before < 64 * MIB


async def test_beyond_the_memory_budget_senders_are_asked_to_come_back() -> None:
    """Statement 22. What the first request holds is given back when it is answered."""
    async with running(admission_bytes=14 * MIB) as ares:
        ares.recording.gate = asyncio.Event()
        span: Any = TRACES.request()
        span.resource_spans.add().scope_spans.add().spans.add(name="x" * 3 * MIB)
        first = asyncio.create_task(ares.post(span.SerializeToString()))
        await ares.recording.arrived.wait()
        response = await ares.post(request_of(2 * MIB))
        assert response.status_code == 503
        http_status(response)
        error = await export_error(ares.grpc_target, request_of(2 * MIB))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert detail(grpc_status(error), RetryInfo) is not None
        ares.recording.gate.set()
        assert (await first).status_code == 200
        assert (await ares.post(request_of(2 * MIB))).status_code == 200
        for transport in ("http", "grpc"):
            assert ares.count(
                "ares_otel_receiver_refused_requests",
                receiver="otlp",
                transport=transport,
                signal="traces",
                reason="overloaded",
            )


async def test_json_of_empty_objects_is_admitted_by_what_it_takes_in_memory() -> None:
    """Statement 22. Two megabytes of braces become a hundred in memory: only one of them gets in at a time."""
    hollow = b'{"resourceSpans":[' + b"{}," * 700_000 + b'{"scopeSpans":[{"spans":[{}]}]}]}'
    async with running(admission_bytes=300 * MIB) as ares:
        ares.recording.gate = asyncio.Event()
        tasks = [asyncio.create_task(ares.post(hollow, content_type=JSON)) for _ in range(3)]
        refused = [await next(asyncio.as_completed(tasks))]
        assert refused[0].status_code == 503
        http_status(refused[0])
        ares.recording.gate.set()
        answers = sorted(response.status_code for response in await asyncio.gather(*tasks))
        assert answers in ([200, 503, 503], [200, 200, 503])


async def test_the_event_loop_goes_on_while_a_big_body_is_decoded() -> None:
    """Statement 12. Small requests are answered before a big one that came first."""
    entries = b",".join(b'{"key":"k%d","value":{"intValue":%d}}' % (n, n) for n in range(250_000))
    big = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[' + entries + b"]}]}]}]}"
    order: list[str] = []
    async with running() as ares:

        async def send(name: str, body: bytes) -> None:
            assert (await ares.post(body, content_type=JSON)).status_code == 200
            order.append(name)

        first = asyncio.create_task(send("big", big))
        await until(lambda: ares.admission.used_bytes > len(big))
        await send("small", b"{}")
        await first
        assert order == ["small", "big"]
