"""OTLP receiver: what must not hurt it, over both transports, with a valid request after each."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import zstandard
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from ares_otel.cli.storing import body_scanner
from tests.support.otlp_receiver import JSON, PROTOBUF, Running, export, export_error, http_status, running, to_json
from tests.support.otlp_samples import span, trace_request

CRC_AT = -8


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


def nested(levels: int, kind: str) -> bytes:
    """A request with one attribute that is `levels` deep, without going through protobuf's own depth check."""
    value = AnyValue(int_value=1).SerializeToString()
    for _ in range(levels):
        value = _field(5, _field(1, value)) if kind == "array" else _field(6, _field(1, _field(2, value)))
    attribute = _field(9, _field(1, b"k") + _field(2, value))
    return _field(1, _field(2, _field(2, attribute)))


def _field(number: int, body: bytes) -> bytes:
    size, length = len(body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + body


async def check_alive(ares: Running) -> None:
    """A valid request is taken on both transports, and is all that was handed on."""
    assert not ares.recording.batches
    request = trace_request()
    assert (await ares.post(request.SerializeToString())).status_code == 200
    await export(ares.grpc_target, request)
    assert [batch.message() for batch in ares.recording.batches] == [request, request]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        b"\x00",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x7f",
        b"{}",
        bytes(range(256)),
        b"\x0b" * 50_000,
        nested(10_000, "array"),
        nested(10_000, "map"),
        nested(60, "array"),
        trace_request(spans=[span(name="x")]).SerializeToString().replace(b"shop", b"\xff\xfe\xfdz"),
        _field(1, _field(2, _field(2, _field(5, b"\xed\xa0\x80")))),
    ],
    ids=[
        "ones", "zero", "length of 4 GiB", "length past the end", "json", "every byte", "open groups",
        "10,000 arrays", "10,000 maps", "60 arrays", "invalid UTF-8", "a surrogate in UTF-8",
    ],
)  # fmt: skip
async def test_garbage_is_bad_data_and_nothing_else_is_lost(garbage: bytes) -> None:
    """Statement 21."""
    async with running() as ares:
        response = await ares.post(garbage)
        assert response.status_code == 400
        http_status(response)
        error = await export_error(ares.grpc_target, garbage)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        await check_alive(ares)


async def test_a_malformed_body_without_items_is_bad_data_where_bodies_are_only_counted() -> None:
    async with running(scanner=body_scanner()) as ares:
        assert (await ares.post(_field(1, _field(1, b"\x0a\xff")))).status_code == 400
        await check_alive(ares)


async def test_a_message_cut_at_any_byte_is_bad_data_or_a_valid_shorter_one() -> None:
    """Statement 21."""
    whole = trace_request(spans=[span(attributes=[], links=[])]).SerializeToString()
    async with running() as ares:
        for size in range(len(whole)):
            response = await ares.post(whole[:size])
            assert response.status_code == (200 if size == 0 else 400), size
        await check_alive(ares)


def zipped(data: bytes) -> bytes:
    """gzip without the time of day: every worker of a run has to collect the same tests."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"{}"),
        ("gzip", b""),
        ("gzip", zipped(b"{}")[:-1]),
        ("gzip", flipped(zipped(b"{}"), CRC_AT)),
        ("gzip", flipped(zipped(b"{}"), -1)),
        ("gzip", zipped(b"{}") + b"garbage"),
        ("gzip", zipped(b"{}") + b"\x1f\x8b"),
        ("gzip", zipped(b"") * 1001),
        ("deflate", b"{}"),
        ("deflate", zlib.compress(b"{}")[:-1]),
        ("deflate", flipped(zlib.compress(b"{}"), -1)),
        ("deflate", zlib.compress(b"{}") + b"x"),
        ("zstd", b"{}"),
        ("zstd", zstandard.compress(b"{}" * 99)[:-1]),
        ("zstd", zstandard.compress(b"{}") + b"x"),
        ("zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 20),
        ("gzip, gzip", zipped(zipped(b"{}"))),
        ("gzip, zstd", b""),
        (None, zipped(b"{}")),
    ],
)
async def test_a_body_that_is_not_what_its_encoding_says_is_bad_data(encoding: str | None, body: bytes) -> None:
    """Statement 21."""
    async with running() as ares:
        response = await ares.post(body, content_type=JSON, content_encoding=encoding or "identity")
        assert response.status_code == 400
        http_status(response)
        await check_alive(ares)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/protobuf", "application/grpc", "json", "a" * 999]
)
async def test_another_content_type_is_answered_415(content_type: str) -> None:
    """Statement 24."""
    async with running() as ares:
        response = await ares.post(b"{}", content_type=content_type)
        assert response.status_code == 415
        http_status(response)
        await check_alive(ares)


async def test_two_content_types_are_answered_415() -> None:
    """Statement 24."""
    async with running() as ares:
        response = await ares.client.post(
            "/v1/traces", content=b"{}", headers=[("content-type", JSON), ("content-type", PROTOBUF)]
        )
        assert response.status_code == 415


SPOILED_IDS: dict[str, Callable[[Any], None]] = {
    "trace id of 15 bytes": lambda item: setattr(item, "trace_id", bytes(15)),
    "trace id of zeros": lambda item: setattr(item, "trace_id", bytes(16)),
    "span id of zeros": lambda item: setattr(item, "span_id", bytes(8)),
    "no trace id": lambda item: item.ClearField("trace_id"),
    "no span id": lambda item: item.ClearField("span_id"),
}


@pytest.mark.parametrize("spoil", SPOILED_IDS.values(), ids=SPOILED_IDS)
async def test_invalid_items_do_not_make_the_request_invalid(spoil: Callable[[Any], None]) -> None:
    """Statement 16. Which items are invalid is decided where rows are made; all of them get there."""
    request = trace_request(spans=2)
    spoil(request.resource_spans[0].scope_spans[0].spans[0])
    async with running() as ares:
        assert (await ares.post(request.SerializeToString())).status_code == 200
        assert (await ares.post(to_json(request), content_type=JSON)).status_code == 200
        await export(ares.grpc_target, request)
        assert [batch.message() for batch in ares.recording.batches] == [request] * 3


@pytest.mark.parametrize(
    "key", ["__proto__", "constructor.prototype.x", "'; DROP TABLE x;--", "{0.__class__}", "%s", "."]
)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
async def test_hostile_keys_and_values_arrive_as_they_were_sent(key: str, content_type: str) -> None:
    """Statement 35."""
    request = trace_request(hostile=f"\x00{key}")
    attribute = request.resource_spans[0].resource.attributes.add(key=key * 1000)
    attribute.value.string_value = key
    async with running() as ares:
        body = to_json(request) if content_type == JSON else request.SerializeToString()
        assert (await ares.post(body, content_type=content_type)).status_code == 200
        assert ares.recording.batches[0].message() == request


async def test_a_million_attributes_are_taken_or_refused_as_a_whole() -> None:
    """Statement 12."""
    wide = _field(1, _field(2, _field(2, _field(9, _field(1, b"k")) * 1_000_000)))
    async with running() as ares:
        assert (await ares.post(wide)).status_code == 200
        assert (
            len(ares.recording.batches[0].message().resource_spans[0].scope_spans[0].spans[0].attributes) == 1_000_000
        )
        error = await export_error(ares.grpc_target, wide)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_concurrent_senders_get_their_own_bodies_through() -> None:
    """Statement 5. Nothing is shared between decoders."""
    requests = [trace_request(service=f"s{number}", spans=20) for number in range(40)]
    compress: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress),
    ]  # fmt: skip
    async with running() as ares:
        posts = []
        for number, request in enumerate(requests):
            name, method = compress[number % 3]
            posts.append(ares.post(method(request.SerializeToString()), content_encoding=name))
        assert {response.status_code for response in await asyncio.gather(*posts)} == {200}
        received = {batch.payload for batch in ares.recording.batches}
        assert received == {request.SerializeToString() for request in requests}


async def test_what_senders_choose_does_not_become_a_label() -> None:
    """Statement 24. Random paths, methods and names leave the number of series as it is."""
    async with running() as ares:
        for number in range(30):
            await ares.client.post(f"/v1/{number}", content=b"")
            await ares.client.post("/v1/traces", content=b"", headers={"host": f"h{number}.example"})
            await ares.client.post("/v1/traces", content=b"", headers={"content-type": f"a/{number}"})
        name = "ares_otel_receiver_refused_requests"
        family = next(family for family in ares.telemetry.registry.collect() if family.name == name)
        totals = [sample for sample in family.samples if sample.name == f"{name}_total"]
        assert {sample.labels["reason"] for sample in totals} == {"path", "host", "media_type"}
        assert len(totals) == 3
        assert sum(sample.value for sample in totals) == 90
