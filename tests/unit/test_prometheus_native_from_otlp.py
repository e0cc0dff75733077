"""Histograms of OTLP as native ones: the same measurements in the same intervals, by a slow exact evaluator."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from ares_otel.model.prometheus.config import Untranslatable
from ares_otel.model.prometheus.native_from_otlp import (
    DEFAULT_ZERO_THRESHOLD,
    MAX_GAP,
    from_explicit,
    from_exponential,
    from_exponential_row,
)
from ares_otel.model.prometheus.native_histogram import NativeHistogram, ResetHint, Spans, is_stale_bits
from tests.support.otlp_samples import exponential_point, histogram_point

Buckets = ExponentialHistogramDataPoint.Buckets
Interval = tuple[Fraction, Fraction]
"""Of logarithms to base two: above the first, up to the second."""

DENSE = st.lists(st.sampled_from([0, 0, 0, 1, 2, 7]), max_size=40)
SCALES = st.integers(-4, 20)
OFFSETS = st.integers(-600, 600)


def exponential(positive: list[int], offset: int = 0, scale: int = 0, **fields: Any) -> ExponentialHistogramDataPoint:
    """A point whose count fits its buckets."""
    point = ExponentialHistogramDataPoint(
        scale=scale, positive=Buckets(offset=offset, bucket_counts=positive), **fields
    )
    point.count = sum(positive) + sum(point.negative.bucket_counts) + point.zero_count
    return point


def of_otlp(counts: list[int], offset: int, scale: int) -> dict[Interval, int]:
    """Bucket i of OTLP is (base^i, base^(i+1)], base = 2^(2^-scale)."""
    width = Fraction(2) ** -scale
    return {((offset + i) * width, (offset + i + 1) * width): count for i, count in enumerate(counts) if count}


def of_native(spans: Spans, counts: tuple[float, ...], schema: int) -> dict[Interval, float]:
    """Bucket i of schema s is (2^((i-1)·2^-s), 2^(i·2^-s)]."""
    assert sum(length for _, length in spans) == len(counts)
    width, found, index, place = Fraction(2) ** -schema, {}, 0, 0
    for gap, length in spans:
        index += gap
        for _ in range(length):
            found[(index - 1) * width, index * width] = counts[place]
            index, place = index + 1, place + 1
    return found


@given(DENSE, DENSE, OFFSETS, OFFSETS, SCALES, st.integers(0, 3))
def test_each_measurement_is_in_the_bucket_around_its_own(
    positive: list[int], negative: list[int], offset: int, other: int, scale: int, zeros: int
) -> None:
    point = exponential(
        positive, offset, scale, zero_count=zeros, negative=Buckets(offset=other, bucket_counts=negative)
    )
    made = from_exponential(point)
    assert made.schema == min(scale, 8)
    assert made.count == point.count
    assert made.zero_count == zeros
    sides = (
        (positive, offset, made.positive_spans, made.positive_counts),
        (negative, other, made.negative_spans, made.negative_counts),
    )
    for dense, start, spans, counts in sides:
        native = of_native(spans, counts, made.schema)
        expected: Counter[Interval] = Counter()
        for (lower, upper), count in of_otlp(dense, start, scale).items():
            [around] = [bucket for bucket in native if bucket[0] <= lower and upper <= bucket[1]]
            expected[around] += count
        assert dict(expected) == {bucket: count for bucket, count in native.items() if count}


@given(DENSE, OFFSETS)
def test_a_span_has_at_most_two_empty_buckets_in_a_row_and_ends_with_one_that_is_not(
    dense: list[int], offset: int
) -> None:
    made = from_exponential(exponential(dense, offset))
    place = 0
    for number, (gap, length) in enumerate(made.positive_spans):
        assert number == 0 or gap > MAX_GAP
        counts = made.positive_counts[place : place + length]
        assert counts[0] > 0 < counts[-1]
        assert "0" * (MAX_GAP + 1) not in "".join("0" if count == 0 else "1" for count in counts)
        place += length


@pytest.mark.parametrize(
    ("dense", "offset", "scale", "spans", "counts"),
    [
        ([4, 2, 1], 0, 0, ((1, 3),), (4, 2, 1)),
        ([4, 2, 1], -5, 0, ((-4, 3),), (4, 2, 1)),
        ([4, 0, 0, 1], 0, 0, ((1, 4),), (4, 0, 0, 1)),
        ([4, 0, 0, 0, 1], 0, 0, ((1, 1), (3, 1)), (4, 1)),
        ([0, 0, 0, 0, 1, 0], 1, 0, ((6, 1),), (1,)),
        ([4, 2, 3, 7, 3, 1], 0, 9, ((1, 3),), (6, 10, 4)),
        ([4, 2, 3, 7, 3, 1], 1, 9, ((1, 4),), (4, 5, 10, 1)),
        ([1, 2, 3], -2, 10, ((0, 2),), (3, 3)),
        ([0, 0], 0, 0, (), ()),
    ],
)
def test_buckets_are_sparse_and_one_index_above_otlps(
    dense: list[int], offset: int, scale: int, spans: Spans, counts: tuple[int, ...]
) -> None:
    made = from_exponential(exponential(dense, offset, scale))
    assert (made.positive_spans, made.positive_counts) == (spans, counts)


def test_scales_below_minus_four_are_refused_and_above_eight_merged_down() -> None:
    assert from_exponential(exponential([1], scale=-4)).schema == -4
    with pytest.raises(Untranslatable, match="scale -5 is below -4"):
        from_exponential(exponential([1], scale=-5))
    made = from_exponential(exponential([1, 2, 3], offset=2**31 - 4, scale=2**31 - 1))
    assert (made.schema, made.positive_counts) == (8, (6,))


def test_the_zero_threshold_is_the_points_or_a_tiny_one() -> None:
    assert from_exponential(exponential([1])).zero_threshold == DEFAULT_ZERO_THRESHOLD == 1e-128
    assert from_exponential(exponential([1], zero_threshold=0.25)).zero_threshold == 0.25
    for nonsense in (-1.0, math.nan, math.inf):
        assert from_exponential(exponential([1], zero_threshold=nonsense)).zero_threshold == DEFAULT_ZERO_THRESHOLD
    assert from_exponential(exponential([1]), verbatim=True).zero_threshold == 0


def test_the_reset_hint_is_unknown_and_of_a_delta_that_of_a_gauge() -> None:
    assert from_exponential(exponential([1])).reset_hint is ResetHint.UNKNOWN
    assert from_exponential(exponential([1]), delta=True).reset_hint is ResetHint.GAUGE
    assert from_explicit(histogram_point(), delta=True).reset_hint is ResetHint.GAUGE


def test_a_point_without_a_recorded_value_has_a_stale_count_and_sum() -> None:
    for made in (
        from_exponential(exponential([1], scale=-7, flags=1)),
        from_explicit(histogram_point(flags=1)),
    ):
        assert is_stale_bits(made.count)
        assert is_stale_bits(made.sum)
        assert not made.positive_counts


@pytest.mark.parametrize("count", [0, 5, 7, 2**63])
def test_counts_that_do_not_add_up_are_refused_for_a_prometheus_would_refuse_the_whole_scrape(count: int) -> None:
    point = exponential([1, 2, 3])
    point.count = count
    with pytest.raises(Untranslatable):
        from_exponential(point)


def test_measurements_of_nan_are_counted_in_no_bucket() -> None:
    point = exponential([1, 2, 3], sum=math.nan)
    point.count = 9
    assert from_exponential(point).count == 9


def test_a_sum_that_is_missing_is_zero() -> None:
    assert from_exponential(exponential([1])).sum == 0
    assert from_exponential(exponential([1], sum=4.5)).sum == 4.5


def test_indexes_beyond_32_bits_are_refused() -> None:
    with pytest.raises(Untranslatable, match="32 bits"):
        from_exponential(exponential([1], offset=2**31 - 1))


def test_a_row_is_the_point_it_was() -> None:
    point = exponential_point()
    row = {
        "scale": 3,
        "count": 7,
        "sum": 40.5,
        "zero_count": 1,
        "zero_threshold": None,
        "positive_offset": -2,
        "positive_counts": [1, 0, 3, 2],
        "negative_offset": None,
        "negative_counts": None,
        "flags": None,
        "point_raw": None,
    }
    assert from_exponential_row(row) == from_exponential(point)
    assert from_exponential_row({"point_raw": point.SerializeToString()}) == from_exponential(point)


def test_explicit_bounds_are_custom_buckets() -> None:
    point = HistogramDataPoint(
        count=9, sum=3, explicit_bounds=[0.1, 1, 10, 100, 1000], bucket_counts=[2, 0, 0, 0, 3, 4]
    )
    assert from_explicit(point) == NativeHistogram(
        -53, 9, 3, positive_spans=((0, 1), (3, 2)), positive_counts=(2, 3, 4), custom_values=(0.1, 1, 10, 100, 1000)
    )
    assert from_explicit(HistogramDataPoint(count=3)).positive_counts == (3,)


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [([1, 1], [1, 1, 1]), ([2, 1], [1, 1, 1]), ([1, math.inf], [1, 1, 1]), ([math.nan], [1, 2]), ([1], [3])],
)
def test_bounds_that_are_no_custom_buckets_are_refused(bounds: list[float], counts: list[int]) -> None:
    with pytest.raises(Untranslatable):
        from_explicit(HistogramDataPoint(count=3, explicit_bounds=bounds, bucket_counts=counts))
