"""What becomes of an OTLP span as Zipkin, statement by statement of the OpenTelemetry specification."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.model.zipkin.from_otlp import from_otlp
from ares_otel.model.zipkin.json_spans import write_spans
from ares_otel.model.zipkin.span import ZipkinSpan
from tests.support.parts import attributes, traces

IDS = {"trace_id": b"\x4d" * 16, "span_id": b"\x2a" * 8}


def only(resource: dict[str, Any] | None = None, **fields: Any) -> ZipkinSpan:
    """The Zipkin span of an OTLP span with these fields."""
    (span,), wrong = from_otlp(traces({**IDS, **fields}, resource=resource), "nobody")
    assert wrong == 0
    span.tags.pop("otel.scope.name", None)
    return span


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Span.SPAN_KIND_CLIENT, "CLIENT"),
        (Span.SPAN_KIND_SERVER, "SERVER"),
        (Span.SPAN_KIND_PRODUCER, "PRODUCER"),
        (Span.SPAN_KIND_CONSUMER, "CONSUMER"),
        (Span.SPAN_KIND_INTERNAL, ""),
        (Span.SPAN_KIND_UNSPECIFIED, ""),
        (17, ""),
    ],
)
def test_kind_is_omitted_for_internal(kind: int, expected: str) -> None:
    assert only(kind=kind).kind == expected


@pytest.mark.parametrize(
    ("start", "end", "timestamp", "duration"),
    [
        (1_700_000_000_000_000_999, 1_700_000_000_000_002_233, 1_700_000_000_000_000, 1),
        (5000, 5000 + 1234, 5, 1),
        (5000, 5001, 5, 1),
        (5000, 5000, 5, 0),
        (5000, 4000, 5, 0),
        (0, 9000, 0, 9),
        (2**64 - 1, 2**64 - 1, (2**64 - 1) // 1000, 0),
    ],
)
def test_times_are_whole_microseconds_and_what_took_less_than_one_took_one(
    start: int, end: int, timestamp: int, duration: int
) -> None:
    span = only(start_time_unix_nano=start, end_time_unix_nano=end)
    assert (span.timestamp, span.duration) == (timestamp, duration)


@pytest.mark.parametrize(
    ("resource", "name", "tags"),
    [
        ({"service__name": "shop", "service__namespace": "eu"}, "shop", {"service.namespace": "eu"}),
        ({"host__name": "h"}, "nobody", {"host.name": "h"}),
        ({"service__name": ""}, "nobody", {}),
    ],
)
def test_the_service_name_is_the_resources_or_the_default(
    resource: dict[str, Any], name: str, tags: dict[str, str]
) -> None:
    span = only(resource)
    assert (span.local.service_name, span.tags) == (name, tags)


@pytest.mark.parametrize(
    ("status", "tags"),
    [
        (None, {}),
        (Status(code=Status.STATUS_CODE_UNSET, message="x"), {}),
        (Status(code=Status.STATUS_CODE_OK), {"otel.status_code": "OK"}),
        (Status(code=Status.STATUS_CODE_ERROR), {"otel.status_code": "ERROR", "error": ""}),
        (Status(code=Status.STATUS_CODE_ERROR, message="boom"), {"otel.status_code": "ERROR", "error": "boom"}),
    ],
)
@pytest.mark.parametrize("own", [None, False, "false", "text"])
def test_status_is_in_two_tags_and_error_only_on_errors(status: Status | None, tags: dict[str, str], own: Any) -> None:
    assert only(status=status, attributes={} if own is None else {"error": own}).tags == tags


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (1.5, "1.5"),
        (1e16, "1.0e+16"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ([1, "a", False], '[1,"a",false]'),
        ([], "[]"),
        ({"a": {"b": [1.0]}}, '{"a":{"b":[1.0]}}'),
        (b"\0\xff", "AP8="),
    ],
)
def test_values_are_text(value: Any, text: str) -> None:
    assert only(attributes={"k": value}).tags == {"k": text}


def test_an_event_is_its_name_or_the_name_with_its_attributes_as_json() -> None:
    span = only(
        events=[
            Span.Event(time_unix_nano=1_999, name="plain"),
            Span.Event(time_unix_nano=2_000, name="my-event-name", attributes=attributes(key1="value1", key2=2)),
            Span.Event(time_unix_nano=3_000, name="cut", dropped_attributes_count=4),
            Span.Event(time_unix_nano=4_000, name='{"looks": {}}'),
        ]
    )
    assert span.annotations == [
        (1, "plain"),
        (2, '"my-event-name": {"key1":"value1","key2":2}'),
        (3, '"cut": {"otel.dropped_attributes_count":4}'),
        (4, r'"{\"looks\": {}}": {}'),
    ]


def test_what_zipkin_has_no_field_for_is_in_tags() -> None:
    link = Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state="a=b", attributes=attributes(n=1))
    span = only(
        trace_state="c=d", links=[link], dropped_attributes_count=1, dropped_events_count=2, dropped_links_count=3
    )
    assert span.tags == {
        "w3c.tracestate": "c=d",
        "otlp.link.0": f'{"01" * 16}|{"02" * 8}|a=b|{{"n":1}}|0',
        "otel.dropped_attributes_count": "1",
        "otel.dropped_events_count": "2",
        "otel.dropped_links_count": "3",
    }


def test_the_scope_is_in_tags() -> None:
    request = traces(IDS)
    scope = request.resource_spans[0].scope_spans[0].scope
    scope.version = "2"
    scope.attributes.extend(attributes(x="y"))
    (span,), _ = from_otlp(request, "nobody")
    assert span.tags == {"otel.scope.name": "tests", "otel.scope.version": "2", "otel.scope.x": "y"}


RANKED = (
    "peer.service",
    "service.peer.name",
    "server.address",
    "net.peer.name",
    "network.peer.address",
    "server.socket.domain",
    "server.socket.address",
    "net.sock.peer.name",
    "net.sock.peer.addr",
    "peer.hostname",
    "peer.address",
    "db.name",
)


@pytest.mark.parametrize("rank", range(len(RANKED)))
@pytest.mark.parametrize("kind", [Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER])
def test_the_remote_endpoint_is_the_best_ranked_attribute(rank: int, kind: int) -> None:
    given = {key.replace(".", "__"): f"host-{key}" for key in RANKED[rank:]}
    span = only(kind=kind, attributes=given)
    assert span.remote.service_name == f"host-{RANKED[rank]}"
    assert span.tags[RANKED[rank]] == f"host-{RANKED[rank]}", "attributes are tags as well"


@pytest.mark.parametrize(
    ("given", "remote"),
    [
        ({"network__peer__address": "10.0.0.1", "network__peer__port": 5432}, {"ipv4": "10.0.0.1", "port": 5432}),
        ({"net__sock__peer__addr": "::1", "net__sock__peer__port": "80"}, {"ipv6": "::1", "port": 80}),
        ({"network__peer__address": "fe80::1%eth0"}, {"ipv6": "fe80::1"}),
        ({"network__peer__address": "/run/pg.sock"}, {"serviceName": "/run/pg.sock"}),
        ({"network__peer__address": "10.0.0.1", "network__peer__port": 70_000}, {"ipv4": "10.0.0.1"}),
        (
            {"peer__service": "db", "network__peer__address": "10.0.0.1", "zipkin__remote__ipv6": "::1"},
            {"serviceName": "db", "ipv4": "10.0.0.1", "ipv6": "::1"},
        ),
        ({}, None),
    ],
)
def test_an_address_is_in_the_endpoints_own_fields(given: dict[str, Any], remote: dict[str, Any] | None) -> None:
    span = only(kind=Span.SPAN_KIND_CLIENT, attributes=given)
    assert json.loads(write_spans([span]))[0].get("remoteEndpoint") == remote


def test_of_a_server_only_what_says_who_called_is_the_remote_endpoint() -> None:
    span = only(
        kind=Span.SPAN_KIND_SERVER,
        attributes={"server__address": "me", "peer__service": "front", "network__peer__address": "10.0.0.9"},
    )
    assert (span.remote.service_name, span.remote.ipv4) == ("front", "10.0.0.9")
    assert not only(kind=Span.SPAN_KIND_SERVER, attributes={"server__address": "me"}).remote


def test_what_came_from_zipkins_own_fields_goes_back_into_them() -> None:
    given = {"zipkin__debug": True, "zipkin__shared": True, "network__local__address": "10.0.0.2"}
    span = only(attributes={**given, "network__local__port": 80, "otel__zipkin__absentField__startTime": True})
    assert (span.debug, span.shared, span.timestamp) == (True, True, 0)
    assert (span.local.ipv4, span.local.port) == ("10.0.0.2", 80)
    assert set(span.tags) == {"network.local.address", "network.local.port"}


def test_spans_without_proper_ids_are_left_out_and_counted() -> None:
    wrong = [{"trace_id": b"\1" * 8}, {"span_id": b"\2" * 4}, {"trace_id": bytes(16)}, {"span_id": bytes(8)}]
    spans, count = from_otlp(
        traces(IDS, *({**IDS, **ids} for ids in wrong), {**IDS, "parent_span_id": b"\1" * 9}), "nobody"
    )
    assert (len(spans), count) == (1, 5)


def test_what_is_empty_is_left_out_and_a_trace_id_of_64_bits_is_one() -> None:
    span = only(trace_id=bytes(8) + b"\1" * 8)
    assert json.loads(write_spans([span])) == [
        {"traceId": "01" * 8, "id": "2a" * 8, "localEndpoint": {"serviceName": "shop"}}
    ]
