"""What a search of Jaeger's clients asks for, and what is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api.jaeger.proto import api_v3_pb2 as v3
from ares_otel.api.jaeger.proto import storage_v2_pb2 as storage
from ares_otel.api.jaeger.proto.expression_v1_pb2 import Call as CallMessage
from ares_otel.api.jaeger.proto.expression_v1_pb2 import Expression as ExpressionMessage
from ares_otel.api.jaeger.search_request import DEFAULT_TRACES, MAX_TRACES, check_search, trace_query
from ares_otel.api.jaeger.times import instant_of, timestamp_of
from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Call, Refused
from ares_otel.query.search.query import TraceQuery

FROM = Timestamp(seconds=1_769_860_800, nanos=123_456_789)
TO = Timestamp(seconds=1_769_860_900)
GO_ZERO = Timestamp(seconds=-62_135_596_800)
LEVELS = ("span", "resource")


def read(**fields: Any) -> TraceQuery:
    query = v3.TraceQueryParameters(**{"start_time_min": FROM, "start_time_max": TO, **fields})
    return trace_query(query, (), LEVELS, bounds_required=True)


def test_every_field_arrives() -> None:
    found = read(
        service_name="orders",
        operation_name="GET /",
        duration_min=Duration(nanos=5),
        duration_max=Duration(seconds=2, nanos=7),
        search_depth=7,
    )
    assert found == TraceQuery(
        service="orders",
        operation="GET /",
        levels=LEVELS,
        start=Instant.from_ns(1_769_860_800_123_456_789),
        end=Instant.from_ns(1_769_860_900_000_000_000),
        min_ns=5,
        max_ns=2_000_000_007,
        limit=7,
    )


def test_what_is_not_said_is_not_asked() -> None:
    found = read(duration_min=Duration(), duration_max=Duration())
    assert (found.service, found.operation, found.min_ns, found.max_ns) == (None, None, None, None)
    assert found.limit == DEFAULT_TRACES


def test_a_filter_stands_alone_with_times_and_limit() -> None:
    found = read(filter=CallMessage(op="exists"), search_depth=3, duration_max=Duration())
    assert (found.filter, found.limit) == (Call("exists", ()), 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_time_min": None}, "query.start_time_min is required"),
        ({"start_time_max": None}, "query.start_time_max is required"),
        ({"start_time_min": GO_ZERO}, "query.start_time_min is required"),
        ({"start_time_min": TO, "start_time_max": FROM}, "query.start_time_min is later than query.start_time_max"),
        ({"start_time_min": Timestamp(seconds=253_402_300_800)}, "query.start_time_min is no time"),
        ({"start_time_max": Timestamp(seconds=1, nanos=1_000_000_000)}, "query.start_time_max is no time"),
        ({"start_time_max": Timestamp(seconds=1, nanos=-1)}, "query.start_time_max is no time"),
        ({"duration_min": Duration(seconds=-1)}, "query.duration_min is negative"),
        ({"duration_max": Duration(nanos=-1)}, "query.duration_max is negative"),
        ({"duration_max": Duration(seconds=1, nanos=-1)}, "query.duration_max is no duration"),
        ({"duration_max": Duration(seconds=10**11)}, "query.duration_max is no duration"),
        (
            {"duration_min": Duration(seconds=2), "duration_max": Duration(seconds=1)},
            "query.duration_min is longer than query.duration_max",
        ),
        ({"search_depth": -1}, "query.search_depth must be from 1 to 1500"),
        ({"search_depth": MAX_TRACES + 1}, "query.search_depth must be from 1 to 1500"),
        *(
            ({"filter": CallMessage(op="exists"), name: value}, f"query.filter and query.{name} exclude each other")
            for name, value in {
                "service_name": "orders",
                "operation_name": "GET /",
                "attributes": {"a": "b"},
                "duration_min": Duration(nanos=1),
                "duration_max": Duration(nanos=1),
            }.items()
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(".")


def test_a_field_of_a_later_version_is_refused_and_not_ignored() -> None:
    pagination = b"\x52\x02\x08\x01"  # field 10 of a message that ends with 9
    query = storage.TraceQueryParameters.FromString(pagination)
    with pytest.raises(Refused, match="query has a field of the number 10,"):
        check_search(storage.FindTracesRequest(query=query))
    newer = CallMessage(op="not", args=[ExpressionMessage(call=CallMessage.FromString(b"\x0a\x01x\x50\x01"))])
    with pytest.raises(Refused, match="call has a field of the number 10,"):
        check_search(v3.FindTracesRequest(query=v3.TraceQueryParameters(filter=newer, attributes={"a": "b"})))
    check_search(v3.FindTracesRequest(query=v3.TraceQueryParameters(attributes={"a": "b"}, start_time_min=FROM)))


def test_a_search_that_is_larger_than_any_that_is_served_is_refused_before_it_is_looked_at() -> None:
    many = v3.TraceQueryParameters(attributes={str(n): "x" for n in range(20_000)})
    with pytest.raises(Refused, match="more than 98304 bytes"):
        check_search(v3.FindTracesRequest(query=many))


def test_bounds_that_a_go_program_did_not_set_are_none() -> None:
    query = storage.TraceQueryParameters(start_time_min=GO_ZERO, start_time_max=GO_ZERO)
    found = trace_query(query, (), LEVELS, bounds_required=False)
    assert (found.start, found.end) == (None, None)


def test_the_beginning_of_1970_is_a_bound_like_others() -> None:
    assert read(start_time_min=Timestamp()).start == Instant.from_ns(0)


@given(st.integers(-62_135_596_799 * 10**9, 253_402_300_799 * 10**9))
def test_times_keep_their_nanoseconds(nanoseconds: int) -> None:
    instant = Instant.from_ns(nanoseconds)
    request = v3.GetTraceRequest(start_time=timestamp_of(instant))
    assert request.start_time.ToNanoseconds() == nanoseconds
    assert instant_of(request, "start_time") == instant
