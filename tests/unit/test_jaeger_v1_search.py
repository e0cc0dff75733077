"""Whatever a client sends as parameters is understood, or refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.datastructures import QueryParams

from ares_otel.api.jaeger.v1_envelope import BadParameter
from ares_otel.api.jaeger.v1_search import LEVELS, Search, parse_search
from ares_otel.api.jaeger.v1_transform import by_trace
from ares_otel.api.jaeger.v1_values import Values
from ares_otel.query.instant import Instant
from ares_otel.query.search.query import Wanted
from tests.support.jaeger_traces import MS, all_spans
from tests.support.otlp_strategies import trace_requests

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAMES = ("service", "operation", "tag", "tags", "start", "end", "lookback", "limit", "minDuration", "maxDuration")


def parsed(*pairs: tuple[str, str]) -> Search:
    return parse_search(Values(QueryParams(list(pairs))), NOW)


def test_without_parameters_the_last_48_hours_are_searched_for_any_service() -> None:
    query = parsed().query
    assert (query.service, query.operation, query.attributes, query.limit) == (None, None, (), 100)
    assert query.start == Instant(NOW - timedelta(hours=48))
    assert query.end == Instant(NOW + timedelta(microseconds=1))
    assert query.levels == LEVELS


def test_texts_are_loose_and_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    query = parsed(("tag", "a:1"), ("tag", "a:2"), ("tag", "b:"), ("tags", '{"c": true, "d": 1.5, "b": "x"}')).query
    assert query.attributes == (
        Wanted("a", "2", loose=True),
        Wanted("b", "x", loose=True),
        Wanted("c", "true", loose=True),
        Wanted("d", "1.5", loose=True),
    )


@pytest.mark.parametrize(
    ("lookback", "hours"), [("1h", 1), ("2d", 48), ("1w", 168), ("90m", 1.5), ("custom", 48), ("", 48)]
)
def test_lookback_counts_from_the_end(lookback: str, hours: float) -> None:
    assert parsed(("lookback", lookback), ("end", "1000000000000000")).query.start == Instant.from_ns(
        10**18 - int(hours * 3_600 * 10**9)
    )


def test_a_maximum_of_no_time_is_none_as_in_jaeger() -> None:
    query = parsed(("minDuration", "0s"), ("maxDuration", "0"))
    assert (query.query.min_ns, query.query.max_ns) == (None, None)


_TEXT = st.text(alphabet='0123456789.-+smhdw:{}",a\0é %', max_size=20) | st.sampled_from(
    ["253402300799999999", "253402300800000000", "0", "999999d", "9223372036854775807ns", '{"a":"b"}', "a:b", "1"]
)


@given(st.lists(st.tuples(st.sampled_from((*NAMES, "traceID", "raw", "other")), _TEXT), max_size=6))
def test_any_parameters_are_a_search_or_one_sentence(pairs: list[tuple[str, str]]) -> None:
    try:
        search = parsed(*pairs)
    except BadParameter as error:
        sentence = str(error)
    else:
        assert search.query.start is not None
        assert search.query.end is not None
        sentence = "The parameter x is fine."
    assert sentence.startswith("The parameter ")
    assert sentence.endswith(".")


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=15)
@given(trace_requests(1_700_000_000_000 * MS))
def test_traces_of_one_body_are_told_apart_and_nothing_is_lost(request: ExportTraceServiceRequest) -> None:
    data = TracesData(resource_spans=request.resource_spans)
    traces = by_trace(data)
    assert {span.trace_id for span in all_spans(data)} == set(traces)
    for trace_id, one in traces.items():
        assert list(all_spans(one)) == [span for span in all_spans(data) if span.trace_id == trace_id]
        assert all(scope.spans for container in one.resource_spans for scope in container.scope_spans)
