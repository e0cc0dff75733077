"""OTLP is shown as Jaeger's JSON of version 1, as Jaeger's own query service shows it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from ares_otel.api.jaeger.v1_trace import trace_to_v1
from ares_otel.api.jaeger.warnings import WARNINGS, add_warning
from tests.support.jaeger_traces import MS, TRACE_ID, resource_spans, sid, span, trace
from tests.support.otlp_samples import pairs
from tests.support.otlp_strategies import trace_requests


def v1(one: Span, **resource: Any) -> dict[str, Any]:
    """The span as it is shown."""
    shown: dict[str, Any] = trace_to_v1([trace({"web": [one]}, **resource)])["spans"][0]
    return shown


def tags_of(one: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [(tag["key"], tag["type"], tag["value"]) for tag in one["tags"]]


def test_a_span_has_all_fields_of_version_1() -> None:
    one = span(2, 1, 5, 10, name="GET /", kind="server")
    one.start_time_unix_nano += 999
    one.flags = 0x301
    assert v1(one) == {
        "traceID": TRACE_ID.hex(),
        "spanID": "0000000000000002",
        "flags": 1,
        "operationName": "GET /",
        "references": [{"refType": "CHILD_OF", "traceID": TRACE_ID.hex(), "spanID": "0000000000000001"}],
        "startTime": 1_700_000_000_005_000,
        "duration": 9_999,
        "tags": [{"key": "span.kind", "type": "string", "value": "server"}],
        "logs": [],
        "processID": "p1",
        "warnings": None,
    }


def test_a_trace_has_its_spans_and_each_resource_once() -> None:
    data = trace({"web": [span(1)], "orders": [span(2, 1), span(3, 2)]})
    shown = trace_to_v1([data, trace({"web": [span(4, 1)]}), trace({"web": [span(5, 1)]}, zone="b")])
    assert shown["traceID"] == TRACE_ID.hex()
    assert [(one["spanID"][-1], one["processID"]) for one in shown["spans"]] == [
        *(("1", "p1"), ("2", "p2"), ("3", "p2"), ("4", "p1"), ("5", "p3")),
    ]
    assert shown["processes"] == {
        "p1": {"serviceName": "web", "tags": []},
        "p2": {"serviceName": "orders", "tags": []},
        "p3": {"serviceName": "web", "tags": [{"key": "zone", "type": "string", "value": "b"}]},
    }
    assert shown["warnings"] is None
    assert trace_to_v1([data], ["odd"])["warnings"] == ["odd"]


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        *(("text", "string", "text"), ("", "string", ""), (True, "bool", True), (False, "bool", False)),
        *((7, "int64", 7), (2**53 - 1, "int64", 2**53 - 1), (1 - 2**53, "int64", 1 - 2**53), (0, "int64", 0)),
        *((2**53, "int64", "9007199254740992"), (-(2**63), "int64", "-9223372036854775808")),
        *((1.5, "float64", 1.5), (math.inf, "float64", "Infinity"), (-math.inf, "float64", "-Infinity")),
        *((math.nan, "float64", "NaN"), (b"\0\xff", "binary", "AP8="), (None, "string", "")),
        *(([1, "a", None, b"\0", 1.5], "string", '[1,"a",null,"AA==",1.5]'), ([], "string", "[]")),
        *(({"a": {"b": [True]}}, "string", '{"a":{"b":[true]}}'), ({}, "string", "{}")),
    ],
)
def test_attributes_become_typed_tags(value: Any, kind: str, shown: Any) -> None:
    one = span(1, kind="unspecified")
    one.attributes.extend(pairs({"the.key": value}))
    one.events.add(attributes=pairs({"the.key": value}))
    made = v1(one, resource=value)
    assert tags_of(made) == [("the.key", kind, shown)]
    assert made["logs"][0]["fields"] == made["tags"]


def test_what_is_no_attribute_in_otlp_becomes_a_tag() -> None:
    one = span(1, kind="client", name="x", attributes={"http.method": "GET"})
    one.status.code = Status.STATUS_CODE_ERROR
    one.status.message = "timed out"
    one.trace_state = "a=1,b=2"
    one.dropped_attributes_count, one.dropped_events_count, one.dropped_links_count = 1, 2, 3
    data = trace({"web": [one]})
    scope = data.resource_spans[0].scope_spans[0].scope
    scope.name, scope.version = "net/http", "1.2"
    assert tags_of(trace_to_v1([data])["spans"][0]) == [
        ("otel.scope.name", "string", "net/http"),
        ("otel.scope.version", "string", "1.2"),
        ("http.method", "string", "GET"),
        ("span.kind", "string", "client"),
        ("otel.status_code", "string", "ERROR"),
        ("error", "bool", True),
        ("otel.status_description", "string", "timed out"),
        ("w3c.tracestate", "string", "a=1,b=2"),
        ("otel.dropped_attributes_count", "int64", 1),
        ("otel.dropped_events_count", "int64", 2),
        ("otel.dropped_links_count", "int64", 3),
    ]


def test_status_ok_is_told_and_no_status_is_not() -> None:
    fine, unset = span(1, kind="unspecified"), span(2, kind="unspecified")
    fine.status.code = Status.STATUS_CODE_OK
    unset.status.code = Status.STATUS_CODE_UNSET
    assert tags_of(v1(fine)) == [("otel.status_code", "string", "OK")]
    assert tags_of(v1(unset)) == []


def test_a_tag_that_the_sender_made_itself_is_not_made_twice() -> None:
    one = span(1, kind="server", attributes={"span.kind": "server", "error": "yes"})
    one.status.code = Status.STATUS_CODE_ERROR
    assert tags_of(v1(one)) == [
        ("span.kind", "string", "server"),
        ("error", "string", "yes"),
        ("otel.status_code", "string", "ERROR"),
        ("error", "bool", True),
    ]


def test_events_become_logs_with_their_name_in_the_field_event() -> None:
    one = span(1)
    one.events.add(time_unix_nano=1_999, name="exception", attributes=pairs({"exception.type": "E"}))
    one.events.add(name="again", attributes=pairs({"event": "again", "n": 1}), dropped_attributes_count=2)
    one.events.add(attributes=pairs({"event": "only here"}))
    assert [(log["timestamp"], [(f["key"], f["value"]) for f in log["fields"]]) for log in v1(one)["logs"]] == [
        (1, [("event", "exception"), ("exception.type", "E")]),
        (0, [("event", "again"), ("n", 1), ("otel.dropped_attributes_count", 2)]),
        (0, [("event", "only here")]),
    ]


def test_links_become_follows_from_references_after_the_parent() -> None:
    other = bytes.fromhex("11112222333344445555666677778888")
    one = span(3, 2)
    one.links.add(trace_id=other, span_id=sid(9))
    one.links.add(trace_id=bytes(8) + sid(77), span_id=sid(8))
    one.links.add(trace_id=TRACE_ID, span_id=sid(2))
    one.links.add()
    one.links.add(trace_id=TRACE_ID, span_id=sid(5), attributes=pairs({"opentracing.ref_type": "child_of"}))
    assert [(ref["refType"], ref["traceID"], ref["spanID"][-1]) for ref in v1(one)["references"]] == [
        ("CHILD_OF", TRACE_ID.hex(), "2"),
        ("FOLLOWS_FROM", other.hex(), "9"),
        ("FOLLOWS_FROM", "000000000000004d", "8"),
        ("FOLLOWS_FROM", TRACE_ID.hex(), "2"),
        ("CHILD_OF", TRACE_ID.hex(), "5"),
    ]


def test_a_reference_of_opentracing_that_came_as_parent_and_as_link_is_one() -> None:
    one = span(3, 2)
    one.links.add(trace_id=TRACE_ID, span_id=sid(2), attributes=pairs({"opentracing.ref_type": "follows_from"}))
    assert [(ref["refType"], ref["spanID"][-1]) for ref in v1(one)["references"]] == [("FOLLOWS_FROM", "2")]


@pytest.mark.parametrize("parent", [b"", bytes(8)])
def test_a_root_has_no_reference(parent: bytes) -> None:
    one = span(1)
    one.parent_span_id = parent
    assert v1(one)["references"] == []


@pytest.mark.parametrize(
    ("trace_id", "shown"),
    [
        (bytes(8) + bytes.fromhex("a3ce929d0e0e4736"), "a3ce929d0e0e4736"),
        (bytes(15) + b"\1", "0000000000000001"),
        (bytes(7) + b"\1" + bytes(8), "00000000000000010000000000000000"),
        (TRACE_ID, TRACE_ID.hex()),
    ],
)
def test_a_trace_id_of_64_bits_has_16_digits_as_jaeger_shows_it(trace_id: bytes, shown: str) -> None:
    one = span(2, 1, trace_id=trace_id)
    made = trace_to_v1([trace({"web": [one]})])
    assert made["traceID"] == made["spans"][0]["traceID"] == made["spans"][0]["references"][0]["traceID"] == shown


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        *(({}, "unknown_service"), ({"service.name": ""}, "unknown_service"), ({"service.name": 7}, "7")),
        *(({"service.name": "x" * 300}, "x" * 255), ({"service.name": "a\0b"}, "a\N{REPLACEMENT CHARACTER}b")),
    ],
)
def test_a_process_has_the_service_name_that_its_spans_are_searched_by(resource: dict[str, Any], name: str) -> None:
    data = TracesData(resource_spans=[resource_spans([span(1)], resource)])
    assert trace_to_v1([data])["processes"] == {"p1": {"serviceName": name, "tags": []}}


def test_times_and_durations_are_microseconds_rounded_down_and_never_negative() -> None:
    one = span(1)
    one.start_time_unix_nano, one.end_time_unix_nano = 2**64 - 1, 1
    made = v1(one)
    assert (made["startTime"], made["duration"]) == ((2**64 - 1) // 1000, 0)
    one.start_time_unix_nano, one.end_time_unix_nano = 1_999, 3_998
    made = v1(one)
    assert (made["startTime"], made["duration"]) == (1, 1)


def test_warnings_of_a_span_are_no_tag() -> None:
    one = span(1, kind="unspecified")
    add_warning(one, "first")
    add_warning(one, "second")
    made = v1(one)
    assert made["warnings"] == ["first", "second"]
    assert made["tags"] == []
    text = span(1, kind="unspecified")
    text.attributes.extend(pairs({WARNINGS: "text"}))
    assert v1(text)["warnings"] == ["text"]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=20)
@given(trace_requests(1_700_000_000_000 * MS))
def test_whatever_otlp_holds_is_shown_as_json(request: ExportTraceServiceRequest) -> None:
    data = TracesData(resource_spans=request.resource_spans)
    shown = trace_to_v1([data])
    spans = [one for container in data.resource_spans for scope in container.scope_spans for one in scope.spans]
    assert len(shown["spans"]) == len(spans)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    for one, made in zip(spans, shown["spans"], strict=True):
        assert made["spanID"] == one.span_id.hex()
        assert made["processID"] in shown["processes"]
        assert len(made["logs"]) == len(one.events)
        assert len(made["references"]) >= len([link for link in one.links if any(link.trace_id)])
