"""Zipkin's two encodings, and OTLP through Zipkin: what Zipkin can hold comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.model.zipkin import json_spans, proto_spans
from ares_otel.model.zipkin.checks import MAX_MICROSECONDS
from ares_otel.model.zipkin.from_otlp import from_otlp
from ares_otel.model.zipkin.span import Endpoint, ZipkinSpan
from ares_otel.model.zipkin.to_otlp import to_otlp
from ares_otel.model.zipkin.values import fill, parse_text
from ares_otel.receivers.zipkin.decode import decode_json, decode_proto
from tests.support.otlp_compare import items_of
from tests.support.otlp_strategies import COUNT, INT64, texts, trace_requests

Write = Callable[[list[ZipkinSpan]], bytes]
Read = Callable[[bytes], Any]
ENCODINGS: dict[str, tuple[Write, Any]] = {
    "json": (json_spans.write_spans, decode_json),
    "proto": (proto_spans.write_spans, decode_proto),
}

_ids = st.binary(min_size=8, max_size=8).filter(any)
_micros = st.integers(1, MAX_MICROSECONDS // 2)


def _is_text(text: str) -> bool:
    value = AnyValue()
    parse_text(text, value)
    return value.HasField("string_value")


_plain_texts = texts(nul=True).filter(_is_text)
_doubles = st.floats(allow_nan=False, allow_infinity=False)
_scalars = st.one_of(_plain_texts, INT64, _doubles, st.booleans())
_json_values = st.recursive(
    st.one_of(texts(nul=True), INT64, _doubles, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(4), inner, max_size=3)),
    max_leaves=5,
)


def _attributes(values: dict[str, Any]) -> list[KeyValue]:
    made = []
    for key, value in values.items():
        attribute = KeyValue(key=key)
        attribute.value.SetInParent()
        fill(attribute.value, value)
        made.append(attribute)
    return made


_nested = st.dictionaries(texts(4), _json_values, max_size=3).map(_attributes)
_statuses = st.one_of(
    st.none(),
    st.builds(Status, code=st.just(Status.STATUS_CODE_OK), message=texts()),
    st.builds(
        Status, code=st.just(Status.STATUS_CODE_ERROR), message=st.one_of(texts(), st.sampled_from(["true", "false"]))
    ),
)
_events = st.builds(
    lambda at, **fields: Span.Event(time_unix_nano=at * 1000, **fields),
    _micros,
    name=st.one_of(texts(nul=True), st.sampled_from(['"a": {}', '{"a": {}}', "a|{}|1", "a|b|c", "{", '"'])),
    attributes=_nested,
    dropped_attributes_count=COUNT,
)
_links = st.builds(
    Span.Link,
    trace_id=_ids.map(lambda half: half * 2),
    span_id=_ids,
    trace_state=st.sampled_from(["", "a=b", "a=b,c=d|e"]),
    attributes=_nested,
    dropped_attributes_count=COUNT,
)


@st.composite
def _spans(draw: st.DrawFn) -> Span:
    start = draw(_micros)
    own = draw(_ids)
    keys = st.sampled_from(["http.route", "http.response.status_code", "n", "a|b", "", "é", "server.address"])
    return Span(
        trace_id=draw(_ids) + draw(_ids),
        span_id=own,
        parent_span_id=draw(st.one_of(st.just(b""), _ids.filter(lambda parent: parent != own))),
        trace_state=draw(st.sampled_from(["", "a=b"])),
        name=draw(texts(nul=True)),
        kind=draw(st.sampled_from([Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER])),
        start_time_unix_nano=start * 1000,
        end_time_unix_nano=(start + draw(st.integers(0, 10**9))) * 1000,
        attributes=_attributes(draw(st.dictionaries(keys, _scalars, max_size=4))),
        dropped_attributes_count=draw(COUNT),
        events=draw(st.lists(_events, max_size=3)),
        dropped_events_count=draw(COUNT),
        links=draw(st.lists(_links, max_size=2)),
        dropped_links_count=draw(COUNT),
        status=draw(_statuses),
    )


@st.composite
def _requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for number in range(draw(st.integers(1, 2))):
        group = request.resource_spans.add()
        names = {"service.name": f"shop {number}", "service.version": draw(texts()), "k8s.pod.name": draw(texts())}
        group.resource.attributes.extend(_attributes(names))
        part = group.scope_spans.add()
        part.scope.name, part.scope.version = draw(texts(4).filter(bool)), draw(texts(4))
        part.scope.attributes.extend(_attributes(draw(st.dictionaries(st.sampled_from(["x", "y.z"]), texts(4)))))
        part.spans.extend(draw(st.lists(_spans(), min_size=1, max_size=2)))
    return request


@settings(max_examples=25)
@given(request_=_requests())
def test_what_zipkin_can_hold_comes_back_equal_to_the_bit(request_: ExportTraceServiceRequest) -> None:
    spans, wrong = from_otlp(request_, "nobody")
    for write, read in ENCODINGS.values():
        decoded = read(write(spans), parse_string_tags=True)
        assert (wrong, decoded.rejected, decoded.spans) == (0, 0, len(spans))
        assert items_of(decoded.request) == items_of(request_)


@settings(max_examples=25)
@given(request_=trace_requests(1_700_000_000_000_000_000, nul=True))
def test_what_came_through_zipkin_once_comes_through_again_unchanged(request_: ExportTraceServiceRequest) -> None:
    spans, wrong = from_otlp(request_, "nobody")
    for write, read in ENCODINGS.values():
        once = read(write(spans), parse_string_tags=True)
        assert once.spans + wrong == sum(items_of(request_).values())
        twice = read(write(from_otlp(once.request, "nobody")[0]), parse_string_tags=True)
        assert items_of(twice.request) == items_of(once.request)


_endpoints = st.builds(
    Endpoint,
    service_name=texts(),
    ipv4=st.sampled_from(["", "10.0.0.1", "255.255.255.255"]),
    ipv6=st.sampled_from(["", "::1", "2001:db8::c001"]),
    port=st.integers(0, 65535),
)


@settings(max_examples=40)
@given(
    span=st.builds(
        ZipkinSpan,
        trace_id=st.one_of(_ids.map(lambda low: bytes(8) + low), _ids.map(lambda half: half * 2)),
        id=_ids,
        kind=st.sampled_from(["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"]),
        name=texts(nul=True),
        timestamp=st.integers(0, MAX_MICROSECONDS // 2),
        duration=st.integers(0, MAX_MICROSECONDS // 2),
        local=_endpoints,
        remote=_endpoints,
        annotations=st.lists(st.tuples(_micros, texts(nul=True)), max_size=3),
        tags=st.dictionaries(texts(4, nul=True), texts(nul=True), max_size=4),
        debug=st.booleans(),
        shared=st.booleans(),
    )
)
def test_both_encodings_give_the_span_back(span: ZipkinSpan) -> None:
    [value] = orjson.loads(json_spans.write_spans([span]))
    assert json_spans.read_span(value) == span
    [message] = proto_spans.ListOfSpans.FromString(proto_spans.write_spans([span])).spans
    assert proto_spans.read_span(message) == span
    to_otlp([span]).SerializeToString()


def test_the_protobuf_is_zipkins_own() -> None:
    """Bytes written by hand from zipkin.proto: field numbers and wire types."""
    body = bytes.fromhex(
        "0a 48"  # spans: 72 bytes
        " 0a 08 0102030405060708"  # trace_id
        " 12 08 1112131415161718"  # parent_id
        " 1a 08 2122232425262728"  # id
        " 20 01"  # kind: CLIENT
        " 2a 01 61"  # name
        " 31 0100000000000000"  # timestamp, fixed64
        " 38 02"  # duration
        " 42 03 0a 01 62"  # local_endpoint: service_name
        " 4a 02 20 50"  # remote_endpoint: port
        " 52 03 12 01 63"  # annotations: value
        " 5a 06 0a 01 64 12 01 65"  # tags: key, value
        " 60 01 68 01"  # debug, shared
    )
    [message] = proto_spans.ListOfSpans.FromString(body).spans
    assert proto_spans.read_span(message) == ZipkinSpan(
        trace_id=bytes(8) + bytes(range(1, 9)),
        id=bytes(range(0x21, 0x29)),
        parent_id=bytes(range(0x11, 0x19)),
        kind="CLIENT",
        name="a",
        timestamp=1,
        duration=2,
        local=Endpoint("b"),
        remote=Endpoint(port=0x50),
        annotations=[(0, "c")],
        tags={"d": "e"},
        debug=True,
        shared=True,
    )
    assert proto_spans.write_spans([proto_spans.read_span(message)]) == body
