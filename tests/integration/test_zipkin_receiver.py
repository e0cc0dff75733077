"""The `zipkin` receiver over real HTTP, in front of a consumer that keeps what it gets."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Overloaded, Rejected, StartError, Unavailable
from ares_otel.model.zipkin import proto_spans
from ares_otel.model.zipkin.json_spans import read_span
from ares_otel.receivers.zipkin.decode import decode_json, decode_proto
from ares_otel.receivers.zipkin.receiver import FACTORY
from tests.support.otlp_receiver import until
from tests.support.parts import only_spans, plain
from tests.support.zipkin_receiver import JSON, PATH, PROTOBUF, Running, body_of, running, zipkin_span

NO_TRACE_ID = "traceId is not an id of 8 or 16 bytes that are not all zero"
BODY = body_of(zipkin_span(1), zipkin_span(2))
PROTO = proto_spans.write_spans([read_span(zipkin_span(1)), read_span(zipkin_span(2))])


async def check_alive(zipkin: Running) -> None:
    """A valid request is taken, and is all that was handed on."""
    assert not zipkin.recording.batches
    assert (await zipkin.post(BODY)).status_code == 202
    assert [batch.items for batch in zipkin.recording.batches] == [2]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, JSON),
        (BODY, "Application/JSON; charset=utf-8"),
        (BODY, None),
        (PROTO, PROTOBUF),
    ],
)
async def test_spans_are_taken_in_both_encodings_and_answered_202_with_nothing(
    body: bytes, content_type: str | None
) -> None:
    async with running() as zipkin:
        answer = await zipkin.post(body, content_type)
        assert (answer.status_code, answer.content) == (202, b"")
        assert "content-type" not in answer.headers
        (batch,) = zipkin.recording.batches
        assert [span.name for span in only_spans(batch)] == ["span 1", "span 2"]
        assert (batch.items, batch.receiver, batch.transport) == (2, "zipkin", "http")
        assert zipkin.count("otelcol_receiver_accepted_spans") == 2


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-thrift", ""])
async def test_another_content_type_is_answered_415(content_type: str) -> None:
    async with running() as zipkin:
        answer = await zipkin.post(BODY, content_type)
        assert (answer.status_code, answer.text) == (
            415,
            "Content-Type must be application/json or application/x-protobuf.\n",
        )
        await check_alive(zipkin)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize(("body", "content_type"), [(BODY, JSON), (PROTO, PROTOBUF)])
async def test_every_content_encoding_is_taken(
    encoding: str, encode: Callable[[bytes], bytes], body: bytes, content_type: str
) -> None:
    async with running() as zipkin:
        answer = await zipkin.post(encode(body), content_type, content_encoding=encoding)
        assert answer.status_code == 202
        assert zipkin.recording.batches[0].items == 2


async def test_an_unknown_or_broken_encoding_is_told() -> None:
    async with running() as zipkin:
        assert (await zipkin.post(BODY, content_encoding="br")).status_code == 415
        broken = await zipkin.post(BODY, content_encoding="gzip")
        assert (broken.status_code, broken.text) == (400, "The body is not valid gzip data.\n")
        await check_alive(zipkin)


async def test_a_repeated_request_has_the_same_key_and_another_one_another() -> None:
    async with running() as zipkin:
        for _ in range(2):
            await zipkin.post(BODY)
        await zipkin.post(gzip.compress(BODY), content_encoding="gzip")
        await zipkin.post(PROTO, PROTOBUF)
        keys = [batch.key for batch in zipkin.recording.batches]
        assert keys[0] == keys[1] == keys[2] != keys[3]


@pytest.mark.parametrize("body", [b"[]", b" [ ] "])
async def test_an_empty_list_by_which_clients_check_the_address_is_taken(body: bytes) -> None:
    async with running() as zipkin:
        assert (await zipkin.post(body)).status_code == 202
        assert (await zipkin.post(b"", PROTOBUF)).status_code == 202
        await check_alive(zipkin)


async def test_a_part_that_is_wrong_is_told_counted_and_logged_once_and_the_rest_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as zipkin:
        for _ in range(3):
            answer = await zipkin.post(body_of(zipkin_span(1), {"id": "1"}, zipkin_span(2), {}))
            assert (answer.status_code, answer.text) == (
                202,
                f"2 of 4 spans cannot be kept; the first: [1]: {NO_TRACE_ID}.\n",
            )
        assert [batch.items for batch in zipkin.recording.batches] == [2, 2, 2]
        assert zipkin.count("otelcol_receiver_accepted_spans") == 6
        assert zipkin.count("ares_otel_receiver_rejected_spans") == 6
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("zipkin: spans were rejected: 2 of 4 spans cannot be kept")


async def test_what_the_store_rejects_is_told_too() -> None:
    async with running() as zipkin:
        zipkin.recording.answer = lambda batch: Accepted(1, rejected=1, reason="Not this one.")
        assert (answer := await zipkin.post(BODY)).status_code == 202
        assert answer.text == "Not this one.\n"
        zipkin.recording.answer = lambda batch: Accepted(rejected=2, reason="None of them.")
        assert ((answer := await zipkin.post(BODY)).status_code, answer.text) == (400, "None of them.\n")


async def test_a_request_without_one_good_span_is_answered_400() -> None:
    async with running() as zipkin:
        answer = await zipkin.post(body_of({"traceId": "x"}, 5))
        assert (answer.status_code, answer.text) == (
            400,
            "2 of 2 spans cannot be kept; the first: [0]: id is not an id of 8 bytes that are not all zero.\n",
        )
        assert zipkin.count("ares_otel_receiver_rejected_spans") == 2
        await check_alive(zipkin)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"[", JSON),
        (b'{"traceId":"1"}', JSON),
        (b"\x0a\xff", PROTOBUF),
        (b"\x0a\x04\x2a\x02\xff\xff", PROTOBUF),
        (BODY, PROTOBUF),
        (PROTO, JSON),
    ],
)
async def test_a_malformed_body_is_answered_400_with_a_sentence(body: bytes, content_type: str) -> None:
    async with running() as zipkin:
        answer = await zipkin.post(body, content_type)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.startswith("The body is not ")
        assert answer.text.endswith(".\n")
        assert zipkin.count("ares_otel_receiver_refused_requests", signal="traces", reason="invalid") == 1
        await check_alive(zipkin)


@pytest.mark.parametrize("body", [b"[" * 10_000_000, b"[{}" + b",{}" * 3_000_000])
async def test_ten_megabytes_of_brackets_are_refused_at_once(body: bytes) -> None:
    async with running() as zipkin:
        assert (await zipkin.post(body)).status_code == 413
        assert (await zipkin.post(body[:100_000])).status_code == 400
        await check_alive(zipkin)


async def test_a_body_over_the_limit_is_answered_413_as_sent_and_as_inflated() -> None:
    async with running(max_request_body_size=1000) as zipkin:
        large = body_of(zipkin_span(name="x" * 1000))
        for answer in (await zipkin.post(large), await zipkin.post(gzip.compress(large), content_encoding="gzip")):
            assert answer.status_code == 413
            assert "1000 bytes" in answer.text
        await check_alive(zipkin)


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (Unavailable("The database is away.", retry_after=7), 503, "7"),
        (Overloaded("Too much."), 503, "1"),
        (Rejected("Never."), 400, None),
        (RuntimeError("secret"), 503, "1"),
    ],
)
async def test_what_was_not_stored_is_not_answered_202(error: Exception, status: int, retry: str | None) -> None:
    async with running() as zipkin:
        zipkin.recording.fail_with(error)
        answer = await zipkin.post(BODY)
        assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
        assert answer.text
        assert "secret" not in answer.text
        assert zipkin.count("otelcol_receiver_accepted_spans") == 0


async def test_beyond_the_memory_budget_senders_are_asked_to_come_back() -> None:
    async with running(admission_bytes=100_000) as zipkin:
        zipkin.recording.gate = asyncio.Event()
        first = asyncio.create_task(zipkin.post(body_of(*(zipkin_span(n) for n in range(1, 16)))))
        await zipkin.recording.arrived.wait()
        busy = await zipkin.post(body_of(*(zipkin_span(n) for n in range(1, 16))))
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        zipkin.recording.gate.set()
        assert (await first).status_code == 202


async def test_a_sender_that_leaves_costs_nothing() -> None:
    async with running() as zipkin:
        _, writer = await asyncio.open_connection("127.0.0.1", zipkin.port)
        writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[{" % PATH.encode())
        await until(lambda: zipkin.admission.used_bytes)
        writer.close()
        await until(lambda: not zipkin.admission.used_bytes)
        await check_alive(zipkin)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/api/v1/spans", 404, "Zipkin v1 is not served; send v2 to /api/v2/spans.\n"),
        ("POST", "/", 404, "There is nothing at this path; spans go to /api/v2/spans"),
        ("GET", "/api/v2/services", 404, "what was stored is read over Ares's HTTP API.\n"),
        ("GET", PATH, 405, "Send telemetry with POST.\n"),
        ("OPTIONS", PATH, 405, "Send telemetry with POST.\n"),
    ],
)
async def test_other_paths_and_methods_are_answered_with_a_sentence(
    method: str, path: str, status: int, message: str
) -> None:
    async with running() as zipkin:
        answer = await zipkin.client.request(method, path, content=BODY if method == "POST" else b"")
        assert answer.status_code == status
        assert message in answer.text


async def test_pages_of_listed_origins_may_send() -> None:
    async with running(cors={"allowed_origins": ["https://shop.example.com"], "max_age": 60}) as zipkin:
        asked = {"origin": "https://shop.example.com", "access-control-request-method": "POST"}
        preflight = await zipkin.client.options(PATH, headers=asked)
        assert (preflight.status_code, preflight.headers["access-control-max-age"]) == (204, "60")
        answer = await zipkin.post(BODY, origin="https://shop.example.com")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
        assert (await zipkin.post(BODY, origin="https://other.example.com")).status_code == 403


async def test_tags_become_numbers_only_when_asked() -> None:
    body = body_of(zipkin_span(tags={"http.status_code": "200", "ok": "true", "zip": "01234"}))
    for parse, expected in (
        (True, {"http.status_code": 200, "ok": True, "zip": "01234"}),
        (False, {"http.status_code": "200", "ok": "true", "zip": "01234"}),
    ):
        async with running(parse_string_tags=parse) as zipkin:
            await zipkin.post(body)
            [span] = only_spans(zipkin.recording.batches[0])
            assert plain(span.attributes) == expected


async def test_the_options_may_stand_in_protocols_too() -> None:
    http = {"endpoint": "127.0.0.1:0", "max_request_body_size": 10}
    async with running(protocols={"http": http}, parse_string_tags=True) as zipkin:
        assert (await zipkin.post(BODY)).status_code == 413


def test_the_options_stand_in_one_place() -> None:
    with pytest.raises(ValidationError, match="endpoint cannot stand beside protocols"):
        FACTORY.config.model_validate({"endpoint": "127.0.0.1:0", "protocols": {"http": {}}})
    assert FACTORY.config().endpoints("zipkin")[0].setting == "receivers.zipkin.endpoint"
    newer = FACTORY.config.model_validate({"protocols": {"http": {"endpoint": "[::1]:5"}}})
    [endpoint] = newer.endpoints("zipkin/b")
    assert (endpoint.host, endpoint.port, endpoint.setting) == ("::1", 5, "receivers.zipkin/b.protocols.http.endpoint")
    assert endpoint.door == "zipkin/b"


async def test_the_door_does_not_open_where_anybody_could_reach_it() -> None:
    with pytest.raises(StartError, match=r"receivers\.zipkin\.endpoint is 0\.0\.0\.0"):
        async with running(endpoint="0.0.0.0:0"):
            pass


@pytest.mark.parametrize("option", ["max_concurrent_requests", "max_connections"])
async def test_limits_of_the_door_are_its_options(option: str) -> None:
    async with running(**{option: 1}) as zipkin:
        zipkin.recording.gate = asyncio.Event()
        first = asyncio.create_task(zipkin.post(BODY))
        await zipkin.recording.arrived.wait()
        busy = await zipkin.post(BODY)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        zipkin.recording.gate.set()
        assert (await first).status_code == 202


FIELDS = (
    *("traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "localEndpoint", "remoteEndpoint"),
    *("annotations", "tags", "debug", "shared", "serviceName", "ipv4", "ipv6", "port", "value"),
    *("error", "otel.status_code", "otlp.link.0", "service.name"),
)
_wild = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**64), 2**64),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from(["1", "0" * 16, "CLIENT", "10.0.0.1", "::1", "true", '"a": {}', "a|{}|1", "\0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=10,
)


@settings(max_examples=150)
@given(value=st.one_of(st.lists(_wild, max_size=3), _wild), parse=st.booleans())
def test_whatever_json_comes_it_is_taken_or_rejected_and_nothing_else(value: Any, parse: bool) -> None:
    body = json.dumps(value).encode()
    try:
        decoded = decode_json(body, parse_string_tags=parse)
    except Rejected:
        return
    assert decoded.spans + decoded.rejected == len(value)
    assert bool(decoded.reason) == bool(decoded.rejected)
    assert decoded.request.FromString(decoded.request.SerializeToString()) == decoded.request


@settings(max_examples=150)
@given(st.data())
def test_whatever_bytes_come_they_are_taken_or_rejected_and_nothing_else(data: st.DataObject) -> None:
    for valid, decode in ((BODY, decode_json), (PROTO, decode_proto)):
        at = data.draw(st.integers(0, len(valid)))
        damaged = valid[:at] + data.draw(st.binary(max_size=6)) + valid[data.draw(st.integers(at, len(valid))) :]
        try:
            decode(damaged, parse_string_tags=True).request.SerializeToString()
        except Rejected:
            pass
