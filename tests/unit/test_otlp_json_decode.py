"""OTLP JSON (statements 32 to 40 of docs/conformance.md)."""

from __future__ import annotations

import base64
import json
import math
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.internal import api_implementation
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ares_otel.model.errors import Rejected
from ares_otel.model.json_text import memory_estimate
from ares_otel.model.otlp_json_decode import INVALID_ID, decode
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from tests.support.otlp_receiver import to_json
from tests.support.otlp_strategies import logs_requests, metrics_requests, trace_requests

VECTORS = Path(__file__).parent.parent / "support" / "otlp_json"
NOW = time.time_ns()
TRACE_ID = "5b8efff798038103d269b633813fc60c"


def span_of(**fields: Any) -> Any:
    """The one span of a request whose span has these JSON fields."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}
    return decode(json.dumps(body).encode(), TRACES.request).resource_spans[0].scope_spans[0].spans[0]  # type: ignore[attr-defined]


def value_of(value: Any) -> Any:
    """The AnyValue of a JSON value."""
    return span_of(attributes=[{"key": "k", "value": value}]).attributes[0].value


def rejection(body: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(body, TRACES.request)
    assert caught.value.message
    return caught.value


def field_rejection(**fields: Any) -> str:
    """Path and description of why a span with these fields is wrong."""
    (violation,) = rejection(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{}, fields]}]}]}).encode()
    ).violations
    assert violation.field.startswith("resourceSpans[0].scopeSpans[0].spans[1].")
    return f"{violation.field.rpartition('spans[1].')[2]}: {violation.description}"


@pytest.mark.parametrize("written", [TRACE_ID, TRACE_ID.upper(), TRACE_ID.title()])
def test_ids_are_hexadecimal_in_either_case(written: str) -> None:
    """Statement 32."""
    span = span_of(traceId=written, spanId="EEE19B7EC3C1B174", parentSpanId="eee19b7ec3c1b173")
    assert span.trace_id == bytes.fromhex(TRACE_ID)
    assert span.span_id == bytes.fromhex("eee19b7ec3c1b174")
    assert span.parent_span_id == bytes.fromhex("eee19b7ec3c1b173")
    link = span_of(links=[{"traceId": written, "spanId": "eee19b7ec3c1b174"}]).links[0]
    assert (link.trace_id, link.span_id) == (span.trace_id, span.span_id)


def test_ids_of_logs_and_exemplars_are_hexadecimal_too() -> None:
    """Statement 32."""
    log = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": TRACE_ID, "spanId": "eee19b7ec3c1b174"}]}]}]}
    logs: Any = decode(json.dumps(log).encode(), LOGS.request)
    assert logs.resource_logs[0].scope_logs[0].log_records[0].trace_id == bytes.fromhex(TRACE_ID)
    point = {"exemplars": [{"traceId": TRACE_ID, "spanId": "eee19b7ec3c1b174"}]}
    metric = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [point]}}]}]}]}
    metrics: Any = decode(json.dumps(metric).encode(), METRICS.request)
    exemplar = metrics.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].exemplars[0]
    assert (exemplar.trace_id, exemplar.span_id) == (bytes.fromhex(TRACE_ID), bytes.fromhex("eee19b7ec3c1b174"))


@given(st.binary(min_size=16, max_size=16))
def test_a_base64_id_is_refused_with_its_path(raw: bytes) -> None:
    """Statement 32."""
    text = base64.b64encode(raw).decode()
    assume(set(text) - set("=0123456789abcdefABCDEF"))  # without its padding it could be hexadecimal
    for written in (text, text.rstrip("="), base64.urlsafe_b64encode(raw).decode()):
        assert field_rejection(traceId=written) == "traceId: must be 32 hexadecimal digits, not base64"
    assert "base64" in field_rejection(links=[{"spanId": base64.b64encode(raw[:8]).decode()}])


@pytest.mark.parametrize("written", ["5", TRACE_ID[:-1], "xyz", "g" * 32, "é" * 8, " " + TRACE_ID[1:], "z" * 16])
def test_an_id_that_is_not_hexadecimal_spoils_only_its_item(written: str) -> None:
    """Statement 32. It becomes an id of a length that no id has, which the row encoder rejects by itself."""
    span = span_of(traceId=written, spanId=written, name="kept")
    assert (span.trace_id, span.span_id, span.name) == (INVALID_ID, INVALID_ID, "kept")
    assert len(INVALID_ID) not in (0, 8, 16)


@pytest.mark.parametrize("written", ["", "00", TRACE_ID[:-2], TRACE_ID + "00", "0" * 32])
def test_an_id_of_another_length_is_handed_on_as_it_is(written: str) -> None:
    """Statement 32."""
    assert span_of(traceId=written).trace_id == bytes.fromhex(written)


@pytest.mark.parametrize("written", [5, True, [], {}])
def test_an_id_that_is_not_a_string_is_refused(written: Any) -> None:
    """Statement 32."""
    assert field_rejection(traceId=written) == "traceId: must be a string of 32 hexadecimal digits"


@given(st.binary(max_size=40))
def test_bytes_values_are_base64(raw: bytes) -> None:
    """Statement 33."""
    for text in (base64.b64encode(raw), base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw)):
        assert value_of({"bytesValue": text.decode()}).bytes_value == raw


@pytest.mark.parametrize("written", ["a", "a===", "äöü", "ab cd", "ab\n", 5])
def test_bytes_that_are_not_base64_are_refused(written: Any) -> None:
    """Statement 33."""
    assert "base64" in field_rejection(attributes=[{"key": "k", "value": {"bytesValue": written}}])


@pytest.mark.parametrize("number", [0, 2, 9999, -1, 2**31 - 1])
def test_enums_are_integers_known_or_not(number: int) -> None:
    """Statement 34."""
    assert span_of(kind=number).kind == number
    assert span_of(status={"code": number}).status.code == number


@pytest.mark.parametrize("written", ["SPAN_KIND_SERVER", "2", True, 2.5, 2**31])
def test_an_enum_that_is_not_an_integer_is_refused(written: Any) -> None:
    """Statement 34."""
    assert field_rejection(kind=written).startswith("kind: ")


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    """Statement 35."""
    span = span_of(name="a", new=[{"deep": [1, None]}], __class__={"x": 1}, kindOfBlue="x")
    assert span.ListFields() == [(span.DESCRIPTOR.fields_by_name["name"], "a")]


def test_snake_case_fields_are_unknown() -> None:
    """Statement 36."""
    span = span_of(trace_id=TRACE_ID, dropped_attributes_count=5, droppedAttributesCount=3)
    assert (span.trace_id, span.dropped_attributes_count) == (b"", 3)
    assert span_of(start_time_unix_nano="5").start_time_unix_nano == 0


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (1544712660000000001, 1544712660000000001),
        ("1544712660000000001", 1544712660000000001),
        (2**53 + 1, 2**53 + 1),
        (2**64 - 1, 2**64 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("007", 7),
        (5.0, 5),
        (1e3, 1000),
    ],
)
def test_64_bit_integers_are_exact_as_numbers_and_as_strings(written: Any, number: int) -> None:
    """Statement 37."""
    assert span_of(startTimeUnixNano=written).start_time_unix_nano == number


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1])
def test_signed_integers_are_exact_to_their_limits(number: int) -> None:
    """Statement 37."""
    assert value_of({"intValue": number}).int_value == number
    assert value_of({"intValue": str(number)}).int_value == number


@pytest.mark.parametrize(
    "written", ["abc", "", " 1", "1.5", "0x10", "1_000", "١", "9" * 5000, 1.5, True, [], {}, 2**63]
)
def test_what_is_not_an_integer_of_the_range_is_refused(written: Any) -> None:
    """Statements 37 and 38."""
    assert field_rejection(attributes=[{"key": "k", "value": {"intValue": written}}]).startswith(
        "attributes[0].value.intValue: must be"
    )


@pytest.mark.parametrize("written", [-1, "-1", 2**64, 1e30])
def test_an_unsigned_integer_is_not_negative_and_not_too_large(written: Any) -> None:
    """Statement 38."""
    assert "must be between 0 and 18446744073709551615" in field_rejection(startTimeUnixNano=written)
    assert "must be between 0 and 4294967295" in field_rejection(flags=written)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        (1, 1.0),
        (5e-324, 5e-324),
        ("1.5", 1.5),
        ("-2e3", -2000.0),
        (-0.0, -0.0),
        (2**64 - 1, float(2**64 - 1)),
    ],
)
def test_doubles_are_numbers_or_names_of_special_ones(written: Any, number: float) -> None:
    """Statement 38."""
    value = value_of({"doubleValue": written}).double_value
    assert struct.pack("<d", value) == struct.pack("<d", number)
    assert math.isnan(value_of({"doubleValue": "NaN"}).double_value)


@pytest.mark.parametrize("written", ["nan", "inf", "", "1e400", "0x1p3", True, [], "1" * 9999])
def test_what_is_not_a_double_is_refused(written: Any) -> None:
    """Statement 38."""
    assert "doubleValue: " in field_rejection(attributes=[{"key": "k", "value": {"doubleValue": written}}])


def test_null_means_not_given() -> None:
    """Statement 39."""
    span = span_of(name=None, traceId=None, kind=None, attributes=None, status=None, events=[{"attributes": None}])
    assert (span.name, span.trace_id, span.kind, len(span.attributes), span.HasField("status")) == (
        "",
        b"",
        0,
        0,
        False,
    )
    assert value_of({"intValue": None}).WhichOneof("value") is None
    assert value_of({"intValue": None, "stringValue": ""}).WhichOneof("value") == "string_value"
    assert value_of({}).WhichOneof("value") is None


def test_of_a_name_that_comes_twice_the_last_one_counts() -> None:
    """Statement 39."""
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","name":"b"}]}]}]}'
    request: Any = decode(body, TRACES.request)
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "b"


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("*.json")))
def test_the_examples_make_the_round_trip(name: str) -> None:
    """Statement 40."""
    signal: Signal = {"trace": TRACES, "metrics": METRICS, "logs": LOGS, "events": LOGS}[name.partition(".")[0]]
    text = json.loads((VECTORS / name).read_text())
    message = decode(json.dumps(text).encode(), signal.request)
    assert signal.count(message) > 0
    assert json.loads(to_json(message)) == text
    assert signal.request.FromString(message.SerializeToString()) == message


@settings(max_examples=60)
@given(trace_requests(NOW) | logs_requests(NOW) | metrics_requests(NOW))
def test_whatever_json_says_is_what_protobuf_says(request: Any) -> None:
    """Statement 40."""
    decoded = decode(to_json(request), type(request))
    assert _without_nan_bits(decoded) == _without_nan_bits(request)


def _without_nan_bits(message: Any) -> bytes:
    """JSON has one NaN only."""
    return bytes(to_json(message))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{} garbage",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"resourceSpans": NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800',
        b'{"a":1e400}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[null]}',
        b'{"resourceSpans":[1]}',
        b'{"resourceSpans":[{"resource":[]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":5}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{"boolValue":1}}]}]}]}]}',
    ],
)
def test_what_is_not_json_or_not_otlp_is_refused(body: bytes) -> None:
    """Statement 21."""
    assert rejection(body)


@pytest.mark.parametrize("kind", ["kvlistValue", "arrayValue"])
def test_nesting_stops_where_protobuf_stops(kind: str) -> None:
    """Statement 21. What is taken can be read again; one level more is refused, and so are ten thousand."""
    assert api_implementation.Type() == "upb"

    def nested(levels: int) -> bytes:
        element = '{"key":"k","value":' if kind == "kvlistValue" else ""
        opened = f'{{"{kind}":{{"values":[' + element
        closed = ("}" if kind == "kvlistValue" else "") + "]}}"
        value = opened * levels + '{"intValue":1}' + closed * levels
        span = f'{{"attributes":[{{"key":"k","value":{value}}}]}}'
        return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode()

    deepest = 31 if kind == "kvlistValue" else 47
    for levels in (0, 1, deepest):
        message = decode(nested(levels), TRACES.request)
        assert TRACES.request.FromString(message.SerializeToString()) == message
    assert "nested too deeply" in rejection(nested(deepest + 1)).message
    for levels in (deepest + 1, 300, 10_000):
        assert rejection(nested(levels))


def test_half_a_surrogate_pair_is_replaced_and_nothing_else() -> None:
    """Statement 21. PostgreSQL cannot hold it."""
    name = r"\ud83d\ude00 \ud800 \udc00\ud800 \\ud800 \\\ud800 \u00e9 \uDFFF"
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"%s"}]}]}]}' % name.encode()
    request: Any = decode(body, TRACES.request)
    decoded = request.resource_spans[0].scope_spans[0].spans[0].name
    assert decoded == "\U0001f600 \ufffd \ufffd\ufffd \\ud800 \\\ufffd é \ufffd"


@given(st.text(alphabet=st.characters(codec=None), max_size=20))
def test_every_text_is_taken(text: str) -> None:
    """Statement 21."""
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert value_of({"stringValue": text}).string_value == expected


NAMES = ["resourceSpans", "scopeSpans", "spans", "traceId", "kind", "status", "attributes", "key", "value", "x"]
NAMES += ["arrayValue", "kvlistValue", "values", "intValue", "stringValue", "bytesValue"]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(ANY_JSON)
def test_any_json_is_decoded_or_refused(value: Any) -> None:
    """Statement 21."""
    try:
        message = decode(json.dumps(value).encode(), TRACES.request)
    except Rejected:
        return
    assert TRACES.request.FromString(message.SerializeToString()) == message


def test_the_memory_estimate_grows_with_what_is_hollow() -> None:
    """Statement 22."""
    hollow, solid = b'{"resourceSpans":[' + b"{}," * 1000 + b"{}]}", b'{"a":"' + b"x" * 3000 + b'"}'
    assert memory_estimate(hollow) > 100 * 1000
    assert memory_estimate(solid) < 2 * len(solid) + 1000
