"""The exponential histogram of connectors: by the data model's definition, and never larger than it may be."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.connectors.exponential import MAX_SCALE, ExponentialHistogram, bucket_of

VALUES = st.floats(min_value=1e-9, max_value=1e12, exclude_min=True)


@pytest.mark.parametrize(
    ("value", "scale", "index"),
    [
        (1.0, 0, -1),
        (1.5, 0, 0),
        (2.0, 0, 0),
        (2.1, 0, 1),
        (4.0, 0, 1),
        (4.0, 1, 3),
        (4.0, -1, 0),
        (5.0, -1, 1),
        (0.5, 0, -2),
        (1.0, 20, -1),
        (2.0, 20, 2**20 - 1),
        (1.4142135623730951, 1, 1),  # one step above the root of two
        (1.414213562373095, 1, 0),
        (5e-324, 0, -1075),
    ],
)
def test_a_value_is_in_the_bucket_that_the_data_model_says(value: float, scale: int, index: int) -> None:
    assert bucket_of(value, scale) == index


@given(VALUES, st.integers(-10, MAX_SCALE))
def test_a_bucket_holds_its_upper_bound_and_not_its_lower(value: float, scale: int) -> None:
    index = bucket_of(value, scale)
    steps = math.log2(value) * 2.0**scale
    assert index - 1e-6 * max(1, abs(index)) <= steps <= index + 1 + 1e-6 * max(1, abs(index))


@given(st.integers(-1000, 1000), st.integers(-10, MAX_SCALE))
def test_a_power_of_two_is_the_upper_bound_of_its_bucket_exactly(power: int, scale: int) -> None:
    below = math.nextafter(2.0**power, 0)
    above = math.nextafter(2.0**power, math.inf)
    assert bucket_of(below, scale) <= bucket_of(2.0**power, scale) <= bucket_of(above, scale)
    if scale >= 0:
        assert bucket_of(2.0**power, scale) == (power << scale) - 1
        assert bucket_of(above, scale) == power << scale


@given(st.lists(st.one_of(st.just(0.0), VALUES), max_size=300), st.integers(2, 160))
def test_every_value_is_counted_once_in_no_more_buckets_than_allowed(values: list[float], size: int) -> None:
    histogram = ExponentialHistogram(size)
    for value in values:
        histogram.add(value)
    first, counts = histogram.dense()
    assert len(counts) <= size
    assert histogram.zero_count + sum(counts) == len(values)
    for value in filter(None, values):
        assert counts[bucket_of(value, histogram.scale) - first] > 0
    if any(values):
        assert counts[0] > 0 < counts[-1]


@given(st.lists(VALUES, min_size=1, max_size=200), st.integers(20, 160))
def test_a_quantile_read_from_the_buckets_is_within_half_a_bucket_of_the_true_one(
    values: list[float], size: int
) -> None:
    histogram = ExponentialHistogram(size)
    for value in values:
        histogram.add(value)
    first, counts = histogram.dense()
    rank = len(values) // 2
    index = first
    for count in counts:
        if rank < count:
            break
        rank -= count
        index += 1
    width = 2.0**-histogram.scale
    read = 2.0 ** ((index + 0.5) * width)
    true = statistics.median_high(values)
    assert abs(math.log2(read / true)) <= 0.5 * width + 1e-9


@given(st.lists(VALUES, min_size=2, max_size=100))
def test_it_is_as_fine_as_its_size_allows(values: list[float]) -> None:
    histogram = ExponentialHistogram(20)
    for value in values:
        histogram.add(value)
    if histogram.scale < MAX_SCALE:
        indexes = [bucket_of(value, histogram.scale + 1) for value in values]
        assert max(indexes) - min(indexes) >= 20
