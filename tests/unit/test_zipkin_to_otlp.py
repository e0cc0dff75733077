"""What becomes of a Zipkin span as OTLP."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ares_otel.model.errors import Rejected, TooLarge
from ares_otel.receivers.zipkin import decode
from ares_otel.receivers.zipkin.decode import Decoded, decode_json, json_memory, proto_memory
from tests.support.parts import plain

SPAN = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312", "timestamp": 1_700_000_000_000_000}


def read(*spans: Any, parse: bool = False) -> Decoded:
    return decode_json(json.dumps(spans).encode(), parse_string_tags=parse)


def only(parse: bool = False, **fields: Any) -> Any:
    """The OTLP span of a Zipkin span with these fields."""
    decoded = read({**SPAN, **fields}, parse=parse)
    assert (decoded.spans, decoded.rejected) == (1, 0), decoded.reason
    return decoded.request.resource_spans[0].scope_spans[0].spans[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("463ac35c9f6413ad48485a3953bb6124", "463ac35c9f6413ad48485a3953bb6124"),
        ("463AC35C9F6413AD48485A3953BB6124", "463ac35c9f6413ad48485a3953bb6124"),
        ("48485a3953bb6124", "000000000000000048485a3953bb6124"),
        ("abc", "00000000000000000000000000000abc"),
        ("1" * 31, "0" + "1" * 31),
    ],
)
def test_a_trace_id_of_64_bits_is_padded_on_the_left(given: str, expected: str) -> None:
    assert only(traceId=given).trace_id.hex() == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": None}, "traceId is not an id"),
        ({"traceId": ""}, "traceId is not an id"),
        ({"traceId": "0" * 32}, "traceId is not an id"),
        ({"traceId": "1" * 33}, "traceId is not hexadecimal"),
        ({"traceId": "xyz"}, "traceId is not hexadecimal"),
        ({"traceId": "-1"}, "traceId is not hexadecimal"),
        ({"traceId": 12}, "traceId is not hexadecimal"),
        ({"traceId": "１２"}, "traceId is not hexadecimal"),
        ({"id": None}, "id is not an id"),
        ({"id": "0000000000000000"}, "id is not an id"),
        ({"id": "1" * 17}, "id is not an id"),
        ({"id": "a\0"}, "id is not hexadecimal"),
        ({"parentId": "1" * 17}, "parentId is not an id"),
        ({"kind": "SOMETHING"}, "kind is none of"),
        ({"kind": 1}, "kind is not a string"),
        ({"name": ["a"]}, "name is not a string"),
        ({"timestamp": -1}, "timestamp is not a number of microseconds"),
        ({"timestamp": 2**64 // 1000 + 1}, "timestamp is not a number of microseconds"),
        ({"timestamp": 10**30}, "timestamp is not a number of microseconds"),
        ({"timestamp": "soon"}, "timestamp is not a number"),
        ({"timestamp": True}, "timestamp is not a number"),
        ({"duration": -5}, "duration is not a number of microseconds"),
        ({"duration": 2**64 // 1000}, r"timestamp \+ duration is not a number of microseconds"),
        ({"duration": {}}, "duration is not a number"),
        ({"localEndpoint": "here"}, "localEndpoint is not an object"),
        ({"localEndpoint": {"ipv4": 1}}, "localEndpoint.ipv4 is not a string"),
        ({"remoteEndpoint": {"port": 65536}}, "remoteEndpoint.port is not a number from 0 to 65535"),
        ({"remoteEndpoint": {"serviceName": 1}}, "remoteEndpoint.serviceName is not a string"),
        ({"annotations": {}}, "annotations is not a list"),
        ({"annotations": ["ws"]}, "annotations is not a list of objects"),
        ({"annotations": [{"timestamp": -1, "value": "a"}]}, "annotations.timestamp is not a number of microseconds"),
        ({"annotations": [{"timestamp": 1, "value": 1}]}, "value is not a string"),
        ({"tags": []}, "tags is not an object"),
        ({"debug": "true"}, "debug is neither true nor false"),
        ({"shared": 1}, "shared is neither true nor false"),
    ],
)
def test_a_span_that_cannot_be_kept_is_rejected_with_its_place_and_costs_the_others_nothing(
    fields: dict[str, Any], reason: str
) -> None:
    decoded = read(SPAN, {**SPAN, **fields}, SPAN)
    assert (decoded.spans, decoded.rejected) == (2, 1)
    assert len(decoded.request.resource_spans[0].scope_spans[0].spans) == 2
    assert re.search(rf"^1 of 3 spans cannot be kept; the first: \[1\]: {reason}.*\.$", decoded.reason)


@pytest.mark.parametrize("value", [None, 1, "text", [], True])
def test_what_is_no_object_is_no_span(value: Any) -> None:
    assert read(value).reason == "1 of 1 spans cannot be kept; the first: [0]: it is not an object."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"[", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'[{"a":' * 50_000, "not valid JSON"),
        (b"\xef\xbb\xbf[]", "not valid JSON"),
        (b'[{"name":"\xff"}]', "not valid JSON"),
        (b'[{"name":"a\0b"}]', "not valid JSON"),
        (b'[{"name":NaN}]', "not valid JSON"),
        (b"{}", "not a list of Zipkin v2 spans"),
        (b"null", "not a list of Zipkin v2 spans"),
        (b'"[]"', "not a list of Zipkin v2 spans"),
    ],
)
def test_a_body_that_is_no_list_in_json_is_rejected_as_a_whole(body: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        decode_json(body, parse_string_tags=False)


def test_of_a_name_that_comes_twice_the_last_one_counts() -> None:
    body = json.dumps([SPAN])[:-2] + ', "name": "a", "name": "b", "tags": {"k": "1", "k": "2"}}]'
    span = decode_json(body.encode(), parse_string_tags=False).request.resource_spans[0].scope_spans[0].spans[0]
    assert (span.name, plain(span.attributes)) == ("b", {"k": "2"})


def test_too_many_spans_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_SPANS", 2)
    with pytest.raises(TooLarge, match="more than 2 spans"):
        read(SPAN, SPAN, SPAN)


def test_the_memory_of_a_body_is_estimated_from_its_punctuation() -> None:
    assert json_memory(b'[{"tags":{"a":"b","c":"d"}}]') > 2 * 900 + 350


@pytest.mark.parametrize("value", [1_700_000_000_000_000, 1_700_000_000_000_000.0, "1700000000000000"])
def test_microseconds_may_be_written_as_any_number(value: Any) -> None:
    assert only(timestamp=value, duration=1).end_time_unix_nano == 1_700_000_000_000_001_000


def test_the_spans_of_a_protobuf_body_are_counted_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_SPANS", 3)
    assert proto_memory(b"\x0a\x01\x20" * 3) >= 3 * 650
    with pytest.raises(TooLarge, match="more than 3 spans"):
        proto_memory(b"\x0a\x00" * 4)
    assert proto_memory(b"\x10\x01" + b"\x0a\x00" * 1000) >= 1000 * 650, "behind what cannot be followed, the worst"
    for body in (b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0a\x7f"):
        assert proto_memory(body) < 10_000, "the decoder says what is wrong"


def test_a_span_without_timestamp_says_so_and_keeps_its_duration() -> None:
    span = only(timestamp=None, duration=7)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (0, 7000)
    assert plain(span.attributes) == {"otel.zipkin.absentField.startTime": True}


def test_a_parent_that_is_zero_or_the_span_itself_is_none() -> None:
    assert only(parentId="0000000000000000").parent_span_id == b""
    assert only(parentId=SPAN["id"]).parent_span_id == b""
    assert only(parentId="1").parent_span_id.hex() == "0000000000000001"


@pytest.mark.parametrize(
    ("kind", "tags", "number", "left"),
    [
        ("CLIENT", {}, 3, {}),
        ("server", {}, 2, {}),
        ("PRODUCER", {}, 4, {}),
        ("CONSUMER", {}, 5, {}),
        (None, {}, 1, {}),
        (None, {"span.kind": "internal"}, 1, {}),
        (None, {"span.kind": "server"}, 2, {}),
        (None, {"span.kind": "rpc"}, 1, {"span.kind": "rpc"}),
        ("CLIENT", {"span.kind": "server"}, 3, {"span.kind": "server"}),
    ],
)
def test_kinds(kind: str | None, tags: dict[str, str], number: int, left: dict[str, str]) -> None:
    span = only(kind=kind, tags=tags)
    assert (span.kind, plain(span.attributes)) == (number, left)


@pytest.mark.parametrize(
    ("tags", "code", "message", "left"),
    [
        ({}, None, "", {}),
        ({"error": "boom"}, 2, "boom", {}),
        ({"error": ""}, 2, "", {}),
        ({"error": "true"}, 2, "", {}),
        ({"error": "false"}, None, "", {"error": "false"}),
        ({"otel.status_code": "OK"}, 1, "", {}),
        ({"otel.status_code": "STATUS_CODE_OK", "otel.status_description": "fine"}, 1, "fine", {}),
        ({"otel.status_code": "UNSET"}, 0, "", {}),
        ({"otel.status_code": "ERROR", "error": "boom"}, 2, "boom", {}),
        ({"otel.status_code": "Error", "error": "true", "otel.status_description": "boom"}, 2, "boom", {}),
        ({"otel.status_code": "ERROR", "error": "a", "otel.status_description": "b"}, 2, "b", {"error": "a"}),
        ({"otel.status_code": "ERROR", "error": "false"}, 2, "false", {}),
        ({"otel.status_code": "ERROR"}, 2, "", {}),
        ({"otel.status_code": "OK", "error": "boom"}, 1, "", {"error": "boom"}),
        ({"otel.status_code": "7"}, None, "", {"otel.status_code": "7"}),
        ({"otel.status_description": "b"}, None, "", {"otel.status_description": "b"}),
    ],
)
def test_statuses(tags: dict[str, str], code: int | None, message: str, left: dict[str, str]) -> None:
    span = only(tags=tags)
    assert plain(span.attributes) == left
    if code is None:
        assert not span.HasField("status")
    else:
        assert (span.status.code, span.status.message) == (code, message)


@pytest.mark.parametrize(
    ("text", "name", "attributes", "dropped"),
    [
        ("ws", "ws", {}, 0),
        ("", "", {}, 0),
        ('"exception": {"a": "b", "n": 1}', "exception", {"a": "b", "n": 1}, 0),
        ('"exception":{"a":[1,2.5,true,null]}', "exception", {"a": [1, 2.5, True, None]}, 0),
        ('{"exception": {"a": {"b": "c"}}}', "exception", {"a": {"b": "c"}}, 0),
        ('"e": {"otel.dropped_attributes_count": 3}', "e", {}, 3),
        ('exception|{"a": "x|y"}|2', "exception", {"a": "x|y"}, 2),
        ("a|b|c", "a|b|c", {}, 0),
        ("a|{broken}|1", "a|{broken}|1", {}, 0),
        ('a|{"b":1}|99999999999', 'a|{"b":1}|99999999999', {}, 0),
        ('a|{"b":1}|4294967296', 'a|{"b":1}|4294967296', {}, 0),
        ('"a": {}, "b": {}', '"a": {}, "b": {}', {}, 0),
        ('{"a": 1}', '{"a": 1}', {}, 0),
        ('"a": ' + '{"x":' * 20 + "1" + "}" * 20, '"a": ' + '{"x":' * 20 + "1" + "}" * 20, {}, 0),
    ],
)
def test_annotations(text: str, name: str, attributes: dict[str, Any], dropped: int) -> None:
    (event,) = only(annotations=[{"timestamp": 5, "value": text}]).events
    assert (event.time_unix_nano, event.name, plain(event.attributes), event.dropped_attributes_count) == (
        5000,
        name,
        attributes,
        dropped,
    )


def test_links_of_the_collector_are_links_and_what_is_none_stays_a_tag() -> None:
    ids = "1" * 32 + "|" + "2" * 16
    span = only(
        tags={
            "otlp.link.0": f'{ids}|a=b|{{"k":"v|w"}}|3',
            "otlp.link.1": "no link",
            "otlp.link.2": f"{ids}||{{}}|0",
            "otlp.link.4": f"{ids}||{{}}|0",
        }
    )
    first, second = span.links
    assert (first.trace_id.hex(), first.span_id.hex(), first.trace_state) == ("1" * 32, "2" * 16, "a=b")
    assert (plain(first.attributes), first.dropped_attributes_count) == ({"k": "v|w"}, 3)
    assert (second.trace_state, len(second.attributes)) == ("", 0)
    assert set(plain(span.attributes)) == {"otlp.link.1", "otlp.link.4"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"remoteEndpoint": {"serviceName": "db"}}, {"peer.service": "db"}),
        ({"remoteEndpoint": {"serviceName": "db"}, "tags": {"peer.service": "pg"}}, {"peer.service": "pg"}),
        (
            {"remoteEndpoint": {"ipv4": "10.0.0.1", "port": 80}},
            {"network.peer.address": "10.0.0.1", "network.peer.port": 80},
        ),
        ({"remoteEndpoint": {"ipv6": "2001:DB8::1"}}, {"network.peer.address": "2001:db8::1"}),
        ({"remoteEndpoint": {"ipv6": "::ffff:10.0.0.1"}}, {"network.peer.address": "10.0.0.1"}),
        ({"remoteEndpoint": {"ipv4": "::1"}}, {"network.peer.address": "::1"}),
        ({"remoteEndpoint": {"ipv4": "no address"}}, {"network.peer.address": "no address"}),
        (
            {"remoteEndpoint": {"ipv4": "10.0.0.1", "ipv6": "::1"}},
            {"network.peer.address": "10.0.0.1", "zipkin.remote.ipv6": "::1"},
        ),
        ({"remoteEndpoint": {"port": 80}, "tags": {"network.peer.port": "80"}}, {"network.peer.port": 80}),
        ({"remoteEndpoint": {"port": 80}, "tags": {"network.peer.port": "81"}}, {"network.peer.port": "81"}),
        (
            {"localEndpoint": {"serviceName": "a", "ipv4": "10.0.0.2", "ipv6": "::2", "port": 8080}},
            {"network.local.address": "10.0.0.2", "zipkin.local.ipv6": "::2", "network.local.port": 8080},
        ),
        ({"debug": True, "shared": True}, {"zipkin.debug": True, "zipkin.shared": True}),
        ({"debug": False, "shared": None}, {}),
        ({"tags": {"a": 1, "b": True, "c": None, "d": 1.5, "e": {"f": []}}},
         {"a": "1", "b": "true", "d": "1.5", "e": '{"f":[]}'}),
        ({"tags": {"w3c.tracestate": "a=b", "otel.dropped_attributes_count": "4294967296"}},
         {"otel.dropped_attributes_count": "4294967296"}),
    ],
)  # fmt: skip
def test_attributes(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert plain(only(**fields).attributes) == expected


def test_what_zipkin_has_no_field_for_comes_back_from_its_tags() -> None:
    counts = {f"otel.dropped_{name}_count": str(n) for n, name in enumerate(("attributes", "events", "links"), 1)}
    span = only(tags={"w3c.tracestate": "a=b", **counts})
    assert span.trace_state == "a=b"
    assert (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count) == (1, 2, 3)
    assert len(span.attributes) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200", 200),
        ("-1", -1),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("007", "007"),
        ("-0", "-0"),
        ("+1", "+1"),
        ("1.5", 1.5),
        ("-0.0", -0.0),
        ("1.5e3", 1500.0),
        ("12e45678", "12e45678"),
        ("1.0e999", "1.0e999"),
        ("NaN", "NaN"),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("", ""),
        (" 1", " 1"),
        ("٣", "٣"),
        ("[1]", "[1]"),
    ],
)
def test_parse_string_tags(text: str, value: Any) -> None:
    [(_, read_value)] = plain(only(parse=True, tags={"k": text}).attributes).items()
    assert (read_value, type(read_value)) == (value, type(value))
    assert plain(only(tags={"k": text}).attributes) == {"k": text}, "off, all are text"


def test_spans_are_grouped_by_what_their_tags_say_of_resource_and_scope() -> None:
    def sent(service: str, **tags: str) -> dict[str, Any]:
        named = {key.replace("__", "."): value for key, value in tags.items()}
        return {**SPAN, "localEndpoint": {"serviceName": service}, "tags": named}

    request = read(
        sent("shop", service__version="1", otel__scope__name="lib", otel__scope__version="2", otel__scope__x="y"),
        sent("shop", otel__library__name="lib", otel__library__version="2", service__version="1", otel__scope__x="y"),
        sent("shop", service__version="2", process__pid="12"),
        sent("cart"),
        sent("shop", service__name="Shop", service__version="1"),
        sent("", service__name="late"),
        sent("OTLPResourceNoServiceName", a="b"),
        sent("job", otlp__service__name__source="faas.name"),
        sent("shop", service__name="other"),
        parse=True,
    ).request
    found = [
        (
            plain(group.resource.attributes),
            [(part.scope.name, part.scope.version, plain(part.scope.attributes), len(part.spans)) for part in parts],
            [plain(span.attributes) for part in parts for span in part.spans if span.attributes],
        )
        for group in request.resource_spans
        for parts in [group.scope_spans]
    ]
    unscoped: Any = [("", "", {}, 1)]
    assert found == [
        ({"service.name": "shop", "service.version": "1"}, [("lib", "2", {"x": "y"}, 2)], []),
        ({"service.name": "shop", "service.version": "2", "process.pid": "12"}, unscoped, []),
        ({"service.name": "cart"}, unscoped, []),
        ({"service.name": "Shop", "service.version": "1"}, unscoped, []),
        ({"service.name": "late"}, unscoped, []),
        ({}, unscoped, [{"a": "b"}]),
        ({"service.name": "job", "faas.name": "job"}, unscoped, []),
        ({"service.name": "shop"}, unscoped, [{"service.name": "other"}]),
    ]


def test_a_client_and_a_server_that_share_an_id_are_both_kept() -> None:
    client = {**SPAN, "kind": "CLIENT", "localEndpoint": {"serviceName": "front"}}
    server = {**SPAN, "kind": "SERVER", "localEndpoint": {"serviceName": "back"}, "shared": True}
    request = read(client, server).request
    spans = [span for group in request.resource_spans for part in group.scope_spans for span in part.spans]
    assert [span.kind for span in spans] == [3, 2]
    assert spans[0].span_id == spans[1].span_id
    assert plain(spans[1].attributes) == {"zipkin.shared": True}
