"""Requests of v3 over HTTP become the messages that gRPC takes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api.jaeger import v3_parameters as parameters
from ares_otel.api.jaeger.proto import api_v3_pb2 as pb
from ares_otel.model.go_duration import MAX_NS, show_go_duration
from ares_otel.query.search.expression import Refused

FILTER = {"op": "eq", "args": [{"attr": {"key": "http.status_code"}}, {"scalar": {"value": "500"}}]}
SEARCH = {
    "service_name": "orders",
    "operation_name": "GET /?a=b&c",
    "attributes": '{"http.status_code":"200","weird=&":"100 %"}',
    "start_time_min": "2026-01-31T12:00:00.123456789Z",
    "start_time_max": "2026-01-31T13:00:00+02:00",
    "duration_min": "1.5ms",
    "duration_max": "1h0m0.000000001s",
    "search_depth": "20",
    "raw_traces": "true",
    "filter": json.dumps(FILTER),
}


def of_address(**values: str) -> pb.TraceQueryParameters:
    pairs = parse_qsl(urlencode({f"query.{name}": value for name, value in values.items()}), keep_blank_values=True)
    return parameters.search_of_address(pb.FindTracesRequest, pairs).query


def of_body(body: object) -> pb.TraceQueryParameters:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parameters.search_of_body(pb.FindTracesRequest, text).query


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


def test_every_parameter_of_a_search_arrives_to_the_nanosecond() -> None:
    query = of_address(**SEARCH)
    assert query.service_name == "orders"
    assert query.operation_name == "GET /?a=b&c"
    assert dict(query.attributes) == {"http.status_code": "200", "weird=&": "100 %"}
    assert query.start_time_min.ToNanoseconds() == 1_769_860_800_123_456_789
    assert query.start_time_max.ToNanoseconds() == 1_769_857_200_000_000_000
    assert query.duration_min.ToNanoseconds() == 1_500_000
    assert query.duration_max.ToNanoseconds() == 3_600_000_000_001
    assert query.search_depth == 20
    assert query.raw_traces
    assert json_format.MessageToDict(query.filter) == FILTER


def test_names_in_camel_case_are_the_same_parameters() -> None:
    assert of_address(**{camel(name): value for name, value in SEARCH.items()}) == of_address(**SEARCH)


def test_a_json_body_says_the_same_in_either_spelling() -> None:
    body: dict[str, Any] = {
        **SEARCH,
        "attributes": json.loads(SEARCH["attributes"]),
        "filter": FILTER,
        "search_depth": 20,
        "raw_traces": True,
    }
    assert of_body({"query": body}) == of_address(**SEARCH)
    assert of_body({"query": {camel(name): value for name, value in body.items()}}) == of_address(**SEARCH)


def test_num_traces_is_the_old_name_of_the_search_depth() -> None:
    assert of_address(num_traces="7").search_depth == of_address(numTraces="7").search_depth == 7


def test_an_operation_may_be_called_span_name_as_versions_of_jaegers_pages_do() -> None:
    assert of_address(span_name="GET /").operation_name == of_body({"query": {"spanName": "GET /"}}).operation_name
    assert of_address(span_name="GET /").operation_name == "GET /"


def test_what_is_empty_was_not_given() -> None:
    assert of_address(**dict.fromkeys(SEARCH, "")) == pb.TraceQueryParameters()
    assert of_body({"query": dict.fromkeys(SEARCH)}) == of_body({}) == pb.TraceQueryParameters()


def test_what_jaegers_pages_ask_is_taken() -> None:
    """Today's UI: camelCase, tags as JSON, durations in Go's form, times as JavaScript writes them."""
    query = of_address(
        serviceName="orders",
        operationName="GET",
        attributes='{"error":"true"}',
        durationMin="1.2s",
        durationMax="100ms",
        searchDepth="20",
        startTimeMin="2026-01-31T12:00:00.000Z",
        startTimeMax="2026-01-31T13:00:00.000Z",
    )
    assert query.search_depth == 20
    assert parameters.operations_request([("service", "orders")]).service == "orders"
    assert parameters.operations_request([("service", "orders"), ("spanKind", "server")]).span_kind == "server"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"service": "x"}, "'query.service' is no parameter here"),
        ({"service_name": "x", "serviceName": "x"}, "query.service_name is given twice"),
        ({"attributes": '{"a": "1", "a": "2"}'}, "query.attributes: 'a' is given twice; give it once."),
        ({"attributes": "a=b"}, "query.attributes is not JSON"),
        ({"attributes": "[]"}, "query.attributes must be a JSON object"),
        ({"attributes": '{"a": 1}'}, "query.attributes: the value of 'a' must be a text"),
        ({"start_time_min": "yesterday"}, "query.start_time_min must be an RFC 3339 time"),
        ({"start_time_max": "2026-02-30T00:00:00Z"}, "query.start_time_max must be a time that exists"),
        ({"duration_min": "5"}, "query.duration_min must be a duration with a unit"),
        ({"search_depth": "many"}, "query.search_depth must be a whole number"),
        ({"search_depth": "4294967296"}, "query.search_depth must be a whole number"),
        ({"search_depth": "9" * 5000}, "query.search_depth must be a whole number"),
        ({"search_depth": "0" * 20 + "9" * 20}, "query.search_depth must be a whole number"),
        ({"search_depth": "0" * 20 + "9" * 5000}, "query.search_depth must be a whole number"),
        ({"search_depth": "\N{SUPERSCRIPT TWO}"}, "query.search_depth must be a whole number"),
        ({"search_depth": "1", "num_traces": "1"}, "query.num_traces is another name of query.search_depth"),
        ({"operation_name": "x", "span_name": "x"}, "query.span_name is another name of query.operation_name"),
        ({"raw_traces": "yes"}, "query.raw_traces must be true or false"),
        ({"filter": "{"}, "query.filter is not JSON"),
        ({"filter": "[1]"}, "query.filter must be a JSON object"),
        ({"filter": '{"operator": "eq"}'}, "query.filter is no Call of jaeger.expression.v1"),
        ({"filter": '{"args":[{"scalar":{"value":5}}]}'}, "query.filter is no Call of jaeger.expression.v1"),
        ({"filter": '{"args":[{"call":' * 200 + "{}" + "}]}" * 200}, "query.filter is no Call of jaeger.expression.v1"),
        ({"filter": "[" * 5000 + "]" * 5000}, "query.filter is not JSON"),
    ],
)
def test_what_is_wrong_is_refused_by_name(values: dict[str, str], message: str) -> None:
    with pytest.raises(Refused) as caught:
        of_address(**values)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is not JSON"),
        ([], "The body must be a JSON object"),
        ({"serviceName": "x"}, "'serviceName' is no field of the body"),
        ({"query": []}, "query must be a JSON object"),
        ({"query": {"service": "x"}}, "query.'service' is no field of a search"),
        ({"query": {"service_name": "x", "serviceName": "y"}}, "query.service_name is given twice"),
        (b'{"query": {"service_name": "x", "service_name": "y"}}', "The body: 'service_name' is given twice"),
        (b'{"query": {"attributes": {"a": "1", "a": "2"}}}', "The body: 'a' is given twice; give it once."),
        (b'{"query": {"filter": {"op": "eq", "op": "ne"}}}', "The body: 'op' is given twice; give it once."),
        (b'{"query": {"search_depth": NaN}}', "The body is not JSON"),
        ({"query": {"service_name": 5}}, "query.service_name must be a text"),
        ({"query": {"search_depth": 1.5}}, "query.search_depth must be a whole number"),
        ({"query": {"search_depth": True}}, "query.search_depth must be a whole number"),
        ({"query": {"raw_traces": 1}}, "query.raw_traces must be true or false"),
        ({"query": {"raw_traces": []}}, "query.raw_traces must be true or false"),
        ({"query": {"start_time_min": 5}}, "query.start_time_min must be a text"),
        ({"query": {"duration_min": 5}}, "query.duration_min must be a text"),
        ({"query": {"attributes": "a"}}, "query.attributes must be a JSON object"),
        ({"query": {"filter": "{}"}}, "query.filter must be a JSON object"),
        ({"query": {"filter": {"op": "or", "args": [{}] * 200_000}}}, "query.filter has more than 8,192 values"),
    ],
)
def test_a_body_that_is_wrong_is_refused_by_name(body: object, message: str) -> None:
    with pytest.raises(Refused) as caught:
        of_body(body)
    assert str(caught.value).startswith(message)


def test_a_trace_may_be_asked_for_with_its_range() -> None:
    pairs = [("start_time", "2026-01-31T12:00:00Z"), ("endTime", "2026-01-31 13:00:00 02:00"), ("rawTraces", "t")]
    asked = parameters.trace_request("ab", pairs)
    assert (asked.trace_id, asked.raw_traces) == ("ab", True)
    assert asked.start_time.ToNanoseconds() == 1_769_860_800_000_000_000
    assert asked.end_time.ToNanoseconds() == 1_769_857_200_000_000_000
    with pytest.raises(Refused, match="'raw' is no parameter here"):
        parameters.trace_request("ab", [("raw", "true")])


@given(st.integers(0, MAX_NS))
def test_durations_keep_their_nanoseconds(nanoseconds: int) -> None:
    assert of_address(duration_min=show_go_duration(nanoseconds)).duration_min.ToNanoseconds() == nanoseconds


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_parameters_of_any_kind_are_taken_or_refused(values: dict[str, str]) -> None:
    try:
        of_address(**values)
    except Refused:
        pass


@given(
    st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["query", "filter", "attributes", "op", "args", "call", "scalar", *SEARCH]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_bodies_of_any_kind_are_taken_or_refused(body: bytes) -> None:
    try:
        of_body(body)
    except Refused:
        pass
