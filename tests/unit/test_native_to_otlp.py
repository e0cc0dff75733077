"""Native histograms of Prometheus as OTLP has them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, Spans
from ares_otel.model.prometheus.native_to_otlp import MAX_BUCKETS, WrongHistogram, to_otlp

COUNTS = st.integers(0, 2**40)
SIDES = st.lists(st.tuples(st.integers(0, 30), st.lists(COUNTS, max_size=4)), max_size=4)


def side(first: int, told: list[tuple[int, list[int]]]) -> tuple[Spans, tuple[int, ...], dict[int, int]]:
    """Spans and counts, and the count of each bucket by its index."""
    spans, counts, found, index = [], [], {}, 0
    for number, (offset, some) in enumerate(told):
        offset += 0 if number else first
        spans.append((offset, len(some)))
        index += offset
        for count in some:
            counts.append(count)
            found[index] = count
            index += 1
    return tuple(spans), tuple(counts), found


def dense(buckets: Any) -> dict[int, int]:
    """The counts that are not 0, by Prometheus's index."""
    return {buckets.offset + 1 + place: count for place, count in enumerate(buckets.bucket_counts) if count}


@given(
    schema=st.integers(-4, 8),
    positive=SIDES,
    negative=SIDES,
    first=st.integers(-500, 500),
    zero=COUNTS,
    sum_=st.floats(allow_nan=False),
    threshold=st.floats(0, 1),
)
def test_every_bucket_keeps_its_count_one_index_below(
    schema: int,
    positive: list[tuple[int, list[int]]],
    negative: list[tuple[int, list[int]]],
    first: int,
    zero: int,
    sum_: float,
    threshold: float,
) -> None:
    spans, counts, found = side(first, positive)
    negative_spans, negative_counts, negative_found = side(-first, negative)
    count = sum(counts) + sum(negative_counts) + zero
    histogram = NativeHistogram(schema, count, sum_, threshold, zero, spans, counts, negative_spans, negative_counts)
    point = to_otlp(histogram)
    assert isinstance(point, ExponentialHistogramDataPoint)
    assert (point.scale, point.count, point.sum, point.zero_count) == (schema, count, sum_, zero)
    assert point.zero_threshold == threshold
    assert dense(point.positive) == {index: count for index, count in found.items() if count}
    assert dense(point.negative) == {index: count for index, count in negative_found.items() if count}


@given(
    bounds=st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=6).map(sorted),
    data=st.data(),
)
def test_custom_buckets_are_explicit_bounds(bounds: list[float], data: st.DataObject) -> None:
    counts = data.draw(st.lists(COUNTS, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    first = data.draw(st.integers(0, len(bounds)))
    some = counts[first:]
    histogram = NativeHistogram(
        -53,
        sum(some),
        1.0,
        positive_spans=((first, len(some)),),
        positive_counts=tuple(some),
        custom_values=tuple(bounds),
    )
    point = to_otlp(histogram)
    assert isinstance(point, HistogramDataPoint)
    assert list(point.explicit_bounds) == bounds
    assert list(point.bucket_counts) == [0] * first + some


def test_the_end_of_a_series_is_a_point_without_a_recorded_value() -> None:
    for schema, kind in ((3, ExponentialHistogramDataPoint), (-53, HistogramDataPoint)):
        point = to_otlp(NativeHistogram(schema, 0, STALE_NAN))
        assert isinstance(point, kind)
        assert (point.flags, point.count, point.HasField("sum")) == (1, 0, False)
    assert to_otlp(NativeHistogram(3, 0, math.nan)).flags == 0


GOOD = NativeHistogram(3, 6, 1.0, 0.1, 1, ((2, 2),), (2, 3))
CUSTOM = NativeHistogram(-53, 5, 1.0, positive_spans=((0, 2),), positive_counts=(2, 3), custom_values=(1.0, 2.0))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (replace(GOOD, schema=9), "schema 9"),
        (replace(GOOD, schema=-5), "schema -5"),
        (replace(GOOD, count=7), "its count is 7, and its buckets hold 6"),
        (replace(GOOD, count=7, sum=math.nan), "measurements of NaN"),
        (replace(GOOD, count=6.5), "whole numbers"),
        (replace(GOOD, zero_count=-1), "below 0"),
        (replace(GOOD, positive_counts=(2, -3)), "below 0"),
        (replace(GOOD, positive_counts=(2.0, math.nan)), "no number"),
        (replace(GOOD, count=math.inf), "no number"),
        (replace(GOOD, positive_counts=(2,)), "another number of buckets"),
        (replace(GOOD, positive_spans=((2, 1), (-1, 1))), "begins before the end"),
        (replace(GOOD, positive_spans=((2, 1), (MAX_BUCKETS, 1))), "spread over more"),
        (replace(GOOD, positive_spans=((2**31 - 2, 2),)), "where no measurement can be"),
        (replace(GOOD, negative_spans=((0, 1),)), "negative spans"),
        (replace(GOOD, zero_threshold=-1.0), "zero threshold"),
        (replace(GOOD, zero_threshold=math.nan), "zero threshold"),
        (replace(GOOD, custom_values=(1.0,)), "custom values"),
        (replace(CUSTOM, custom_values=(2.0, 1.0)), "do not increase"),
        (replace(CUSTOM, custom_values=(math.nan,)), "do not increase"),
        (replace(CUSTOM, custom_values=(1.0, math.inf)), r"\+Inf"),
        (replace(CUSTOM, custom_values=()), "outside the custom values"),
        (replace(CUSTOM, positive_spans=((-1, 2),)), "outside the custom values"),
        (replace(CUSTOM, zero_count=1), "neither negative buckets"),
        (replace(CUSTOM, custom_values=tuple(map(float, range(MAX_BUCKETS)))), "more than"),
    ],
)
def test_a_histogram_that_contradicts_itself_is_refused(wrong: NativeHistogram, reason: str) -> None:
    with pytest.raises(WrongHistogram, match=reason):
        to_otlp(wrong)


def test_float_counts_that_are_whole_are_taken() -> None:
    floats = replace(GOOD, count=6.0, zero_count=1.0, positive_counts=(2.0, 3.0))
    assert to_otlp(floats) == to_otlp(GOOD)


@given(
    histogram=st.builds(
        NativeHistogram,
        st.one_of(st.integers(-6, 10), st.just(-53)),
        st.floats() | COUNTS,
        st.floats(),
        st.floats(),
        st.floats() | COUNTS,
        st.lists(st.tuples(st.integers(-(2**31), 2**31), st.integers(0, 3)), max_size=3).map(tuple),
        st.lists(st.floats() | COUNTS, max_size=6).map(tuple),
        st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=3).map(tuple),
        st.lists(COUNTS, max_size=6).map(tuple),
        st.lists(st.floats(), max_size=3).map(tuple),
    )
)
def test_nothing_else_than_a_refusal_happens(histogram: NativeHistogram) -> None:
    try:
        to_otlp(histogram).SerializeToString()
    except WrongHistogram:
        pass
