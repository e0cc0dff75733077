"""Histograms and sketches of the roll-ups against the values that they stand for."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from ares_otel.storage.rollups.histogram import FRACTIONS, Histogram, add, arrays, percentiles, take
from ares_otel.storage.rollups.sketch import Sketch
from ares_otel.storage.rows.rollups import bucket_of, trace_hash

durations = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 3000), st.sampled_from([0, 1, 10**6, 10**9]))
many = st.lists(durations, min_size=1, max_size=40)


def histogram_of(values: list[int]) -> Histogram:
    return dict(Counter(map(bucket_of, values)))


def exact(values: list[int], fraction: float) -> Fraction:
    """percentile_cont."""
    ordered = sorted(values)
    wanted = Fraction(fraction * (len(ordered) - 1))
    below = floor(wanted)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return low + (wanted - below) * (high - low)


@given(many)
def test_percentiles_are_within_0_55_percent_of_the_exact_ones(values: list[int]) -> None:
    found = percentiles(*arrays(histogram_of(values)), max(values))
    for fraction, value in zip(FRACTIONS, found, strict=True):
        right = exact(values, fraction)
        assert abs(Fraction(value) - right) <= Fraction("0.0055") * right
    assert found == sorted(found)


@given(st.lists(many, min_size=1, max_size=4))
def test_the_sum_of_histograms_is_the_histogram_of_all_and_can_be_taken_apart_again(parts: list[list[int]]) -> None:
    total: Histogram = {}
    for part in parts:
        add(total, *arrays(histogram_of(part)))
    assert total == histogram_of([value for part in parts for value in part])
    for part in parts[1:]:
        take(total, *arrays(histogram_of(part)))
    assert total == histogram_of(parts[0])


@given(st.lists(st.sets(st.integers(1, 60), max_size=30), max_size=5), st.integers(1, 100))
def test_the_union_of_sketches_is_the_sketch_of_the_union(parts: list[set[int]], most: int) -> None:
    union = Sketch()
    for part in parts:
        one = Sketch()
        one.add({trace_hash(number.to_bytes(16, "big")) for number in part}, None)
        union.add(*one.kept(most))
    whole = sorted({trace_hash(number.to_bytes(16, "big")) for part in parts for number in part})
    hashes, threshold = union.kept(most)
    assert hashes == whole[: len(hashes)]
    if threshold is None:
        assert union.traces == len(whole)
    else:
        assert hashes == [one for one in whole if one < threshold][:most]


def test_many_traces_are_estimated_within_three_standard_errors() -> None:
    source = random.Random(1)
    union = Sketch()
    for _ in range(60):
        minute = Sketch()
        minute.add({trace_hash(source.randbytes(16)) for _ in range(3000)}, None)
        union.add(*minute.kept(512))
    assert abs(union.traces - 180_000) < 3 * 0.044 * 180_000


def test_a_sketch_in_memory_stays_small_and_says_the_same() -> None:
    source = random.Random(2)
    hashes = [source.getrandbits(63) for _ in range(60_000)]
    union = Sketch()
    for begin in range(0, len(hashes), 500):
        union.add(hashes[begin : begin + 500], None)
        assert len(union.hashes) < 20_000
    whole = sorted(hashes)
    assert union.kept(512) == (whole[:512], whole[512])
    assert union.kept(2048)[0] == whole[:2048]
