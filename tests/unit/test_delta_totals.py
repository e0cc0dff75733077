"""Histograms of deltas added up: the same measurements as in all of them, by a slow exact evaluator."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.native_histogram import STALE_NAN, is_stale_bits
from ares_otel.query.prometheus.columns import NumberColumns
from ares_otel.query.prometheus.cumulative import _counters
from ares_otel.query.prometheus.cumulative_rows import _cumulative
from ares_otel.storage.totals.distributions import COLUMNS, MAX_BUCKETS, MAX_COUNT, Explicit, Exponential

COUNTS = st.lists(st.sampled_from([0, 0, 1, 2, 9]), max_size=12)
BOUNDS = st.sets(st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0]), max_size=5).map(sorted)


def exponential(
    scale: int, positive: list[int], offset: int, negative: list[int], zeros: int, threshold: float = 0.0
) -> dict[str, Any]:
    return {
        "count": sum(positive) + sum(negative) + zeros,
        "sum": 1.5,
        "scale": scale,
        "zero_count": zeros,
        "zero_threshold": threshold,
        "positive_offset": offset,
        "positive_counts": positive,
        "negative_offset": -offset,
        "negative_counts": negative,
    }


EXPONENTIALS = st.builds(exponential, st.integers(-4, 12), COUNTS, st.integers(-40, 40), COUNTS, st.integers(0, 3))


def explicit(bounds: list[float], counts: list[int]) -> dict[str, Any]:
    return {"count": sum(counts), "sum": 2.0, "explicit_bounds": bounds, "bucket_counts": counts}


@st.composite
def explicits(draw: st.DrawFn) -> dict[str, Any]:
    bounds = draw(BOUNDS)
    counts = draw(st.lists(st.integers(0, 9), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    return explicit(bounds, counts)


@given(st.lists(EXPONENTIALS, min_size=1, max_size=6))
def test_each_bucket_of_an_exponential_total_has_what_lies_in_it(rows: list[dict[str, Any]]) -> None:
    total = Exponential()
    for row in rows:
        total.add(row)
    assert total.scale is not None
    assert total.scale <= min(row["scale"] for row in rows)
    assert total.count == sum(row["count"] for row in rows)
    assert total.zero_count == sum(row["zero_count"] for row in rows)
    assert total.sum == 1.5 * len(rows)
    width = Fraction(2) ** -total.scale
    for side, found in (("positive", total.positive), ("negative", total.negative)):
        expected: Counter[int] = Counter()
        for row in rows:
            for place, count in enumerate(row[f"{side}_counts"]):
                lower = (row[f"{side}_offset"] + place) * Fraction(2) ** -row["scale"]
                expected[math.floor(lower / width)] += count
        assert {index: count for index, count in found.items() if count} == dict(+expected)
        assert not found or max(found) - min(found) < MAX_BUCKETS


@given(st.lists(EXPONENTIALS, min_size=1, max_size=6))
def test_buckets_that_are_added_at_once_are_those_that_are_added_one_by_one(rows: list[dict[str, Any]]) -> None:
    quick, slow = Exponential(), Exponential()
    with pytest.MonkeyPatch.context() as patched:
        for row in rows:
            quick.add(row)
        patched.setattr(Exponential, "_add_at_once", lambda self, row: False)
        for row in rows:
            slow.add(row)
    assert quick.columns() == slow.columns()


def test_a_point_far_from_all_others_takes_no_room_for_what_lies_between() -> None:
    total = Exponential()
    for offset in (0, 2**31 - 1, -(2**31)):
        total.add(exponential(20, [1], offset, [1], 0))
    assert max(len(total.columns()[place]) for place in (8, 10)) <= MAX_BUCKETS
    assert sum(total.positive.values()) == sum(total.negative.values()) == 3


def test_counts_of_an_exponential_total_stay_in_what_the_database_holds() -> None:
    total = Exponential()
    for _ in range(3):
        total.add(exponential(3, [1, MAX_COUNT - 5], 7, [], 0))
    assert (total.positive, total.count) == ({7: 3, 8: MAX_COUNT}, MAX_COUNT)


def test_an_exponential_total_stays_within_its_buckets() -> None:
    total = Exponential()
    total.add(exponential(8, [1], 0, [], 0))
    total.add(exponential(8, [2], 100_000, [], 0))
    assert total.scale is not None
    assert total.scale < 8
    assert sum(total.positive.values()) == 3
    assert max(total.positive) - min(total.positive) < MAX_BUCKETS


def test_the_widest_zero_bucket_takes_what_lies_in_it() -> None:
    total = Exponential()
    total.add(exponential(0, [1, 2, 4, 8], -2, [3], 1))  # up to 0.5, 1, 2, 4; below zero: 2^2 to 2^3
    total.add(exponential(0, [], 0, [], 5, threshold=1.0))
    assert (total.zero_count, total.zero_threshold, total.positive, total.negative) == (9, 1.0, {0: 4, 1: 8}, {2: 3})
    assert total.count == 24


@given(st.lists(explicits(), min_size=1, max_size=6))
def test_the_counts_at_bounds_that_all_points_have_are_exact(rows: list[dict[str, Any]]) -> None:
    total = Explicit()
    for row in rows:
        total.add(row)
    common = set.intersection(*(set(row["explicit_bounds"]) for row in rows))
    assert set(total.bounds) == common
    assert sum(total.counts) == total.count == sum(row["count"] for row in rows)

    def up_to(bound: float, bounds: Any, counts: Any) -> int:
        return sum(count for upper, count in zip((*bounds, math.inf), counts, strict=True) if upper <= bound)

    for bound in common:
        expected = sum(up_to(bound, row["explicit_bounds"], row["bucket_counts"]) for row in rows)
        assert up_to(bound, total.bounds, total.counts) == expected


@given(st.lists(EXPONENTIALS, min_size=1, max_size=4), st.lists(explicits(), min_size=1, max_size=4))
def test_a_total_that_was_written_and_read_goes_on_as_if_it_had_not(
    exponentials: list[dict[str, Any]], explicit_rows: list[dict[str, Any]]
) -> None:
    for kind, rows in ((Exponential, exponentials), (Explicit, explicit_rows)):
        whole, pieces = kind(), kind()
        for row in rows:
            whole.add(row)
            pieces.add(row)
            read = kind()
            read.add(dict(zip(COLUMNS, pieces.columns(), strict=True)))
            pieces = read
        assert pieces.columns() == whole.columns()


def test_a_point_without_a_sum_leaves_none_and_counts_stay_in_what_the_database_holds() -> None:
    total = Explicit()
    total.add({**explicit([1.0], [1, MAX_COUNT - 5]), "sum": None})
    total.add(explicit([1.0], [1, MAX_COUNT - 5]))
    assert total.sum is None
    assert total.counts == [2, MAX_COUNT]
    assert total.count == MAX_COUNT


@pytest.mark.parametrize("counts", [[], [3], [1, 1, 1, 0]])
def test_buckets_that_do_not_fit_their_bounds_are_none(counts: list[int]) -> None:
    total = Explicit()
    total.add(explicit([1.0, 2.0], [1, 2, 3]))
    total.add({**explicit([1.0, 2.0], counts), "count": 3})
    total.add(explicit([1.0, 2.0], [1, 2, 3]))
    assert (total.bounds, total.counts, total.count) == ((), [15], 15)


DAY_MS = 86_400_000


def test_deltas_of_a_time_are_the_counter_from_what_was_counted_before() -> None:
    """Two series; one has a sample on the next day, and ends."""
    columns = NumberColumns(
        [uuid4(), uuid4(), uuid4()],
        np.array([0, 3, 3, 5]),
        np.array([10, 20, DAY_MS + 5, 30, DAY_MS - 1]),
        np.array([1.0, 2.0, STALE_NAN, 4.0, math.nan]),
    )
    made = _counters(columns, np.array([103.0, 7.0, 4.0]), DAY_MS - 1, DAY_MS + 5)
    assert list(made.offsets) == [0, 3, 3, 5]
    assert list(made.values[:2]) == [101.0, 103.0]
    assert is_stale_bits(made.values[2])
    assert made.values[3] == 4.0
    until_noon = _counters(columns, np.array([103.0, 7.0, 4.0]), DAY_MS - 1, 25)
    assert (list(until_noon.offsets), list(until_noon.values)) == ([0, 2, 2, 2], [101.0, 103.0])


@pytest.mark.parametrize("nonsense", [-5.0, math.nan, math.inf, -math.inf])
def test_a_delta_that_is_no_number_above_zero_adds_nothing(nonsense: float) -> None:
    columns = NumberColumns([uuid4()], np.array([0, 3]), np.array([1, 2, 3]), np.array([1.0, nonsense, 2.0]))
    made = _counters(columns, np.array([3.0]), DAY_MS, 9)
    assert [made.values[0], made.values[2]] == [1.0, 3.0]


def test_the_newest_value_of_a_counter_is_the_same_bits_whatever_is_read() -> None:
    """A Prometheus that federates gets it at each scrape, under the same time."""
    deltas = [0.1, 0.2, 0.3, 0.7, 1e-9]
    total = math.fsum([7.3, *deltas])
    for first in range(len(deltas)):
        part = np.array(deltas[first:])
        columns = NumberColumns([uuid4()], np.array([0, len(part)]), np.arange(first, len(deltas)), part)
        values = _counters(columns, np.array([total]), DAY_MS, 9).values
        assert values[-1] == total
        assert (np.diff(values) >= 0).all()


def test_a_large_counter_takes_no_digits_from_a_small_one() -> None:
    columns = NumberColumns([uuid4(), uuid4()], np.array([0, 1, 3]), np.array([1, 1, 2]), np.array([1e17, 0.25, 0.5]))
    assert list(_counters(columns, np.array([1e17, 0.75]), DAY_MS, 9).values) == [1e17, 0.25, 0.75]


def test_the_newest_sum_of_a_histogram_is_the_same_bits_whatever_is_read() -> None:
    points = [
        {**explicit([1.0], [1, 0]), "sum": value, "scale": None, "flags": 0, "n": 0, "timestamp_ns": 0}
        | {"timestamp": NOON + timedelta(seconds=second)}
        for second, value in enumerate([0.1, 0.2, 0.3, 0.7])
    ]
    total = Explicit()
    for point in points:
        total.add(point)
    row = {**dict(zip(COLUMNS, total.columns(), strict=True)), "since": NOON, "waiting": [], "waiting_ns": []}
    end = round(NOON.timestamp() * 1000) + 60_000
    for first in range(len(points)):
        sums = [one["sum"] for one in _cumulative(points[first:], {0: row}, end)]
        assert sums[-1] == total.sum
        assert sums == sorted(sums)


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@given(
    st.lists(EXPONENTIALS, min_size=1, max_size=6) | st.lists(explicits(), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 6),
)
def test_the_histogram_at_an_old_time_is_what_was_counted_until_then(
    rows: list[dict[str, Any]], start: int, end: int, waiting: int
) -> None:
    """The total has all but the last ones, which wait; what is read begins at any of them, and is told up to any."""
    points = [
        {**row, "n": 0, "timestamp": NOON + timedelta(seconds=place), "timestamp_ns": 0, "flags": None}
        for place, row in enumerate(rows)
    ]
    kind = Exponential if rows[0].get("scale") is not None else Explicit
    start = min(start, len(points) - 1)
    first_late = max(len(points) - waiting, start)
    added, late = points[:first_late], points[first_late:]
    total, everything = kind(), kind()
    for point in added:
        total.add(point)
    for point in points:
        everything.add(point)
    stored: dict[str, Any] = dict(zip(COLUMNS, total.columns(), strict=True)) if added else dict.fromkeys(COLUMNS)
    stored |= {
        "since": NOON if added else None,
        "waiting": [point["timestamp"] for point in late],
        "waiting_ns": [0 for _ in late],
    }
    end_ms = round((NOON + timedelta(seconds=end)).timestamp() * 1000)
    made = _cumulative([{**point, "scale": point.get("scale")} for point in points[start:]], {0: stored}, end_ms)
    assert len(made) == len(points[start : end + 1])
    for place, found in enumerate(made, start):
        expected = kind()
        # Told at the bounds and the scale that all points have.
        expected.add(
            {**dict(zip(COLUMNS, everything.columns(), strict=True)), **NOTHING, "bucket_counts": zeros(everything)}
        )
        for point in points[: place + 1]:
            expected.add(point)
        assert found["count"] == expected.count
        assert found["sum"] == pytest.approx(expected.sum)
        read = kind()
        read.add(found)
        assert _nonzero(read) == _nonzero(expected)


NOTHING = {"count": 0, "sum": 0.0, "zero_count": 0, "positive_counts": None, "negative_counts": None}


def zeros(total: Explicit | Exponential) -> list[int] | None:
    return [0] * len(total.counts) if isinstance(total, Explicit) else None


def _nonzero(total: Explicit | Exponential) -> Any:
    if isinstance(total, Explicit):
        return total.bounds, total.counts
    sides = ({index: count for index, count in side.items() if count} for side in (total.positive, total.negative))
    return total.scale, total.zero_count, list(sides)
