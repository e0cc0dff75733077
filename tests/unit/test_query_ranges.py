"""Ranges of a search: together exactly what was asked for, whatever partitions there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ares_otel.query.ranges import PARTITIONS_AT_ONCE, Range, Steps, by_partitions

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
_MOMENT = st.none() | st.datetimes(datetime(2025, 12, 1), datetime(2026, 3, 1), timezones=st.just(UTC))
_STARTS = st.builds(
    lambda count, minutes, ahead: sorted(NOW + timedelta(minutes=minutes * (ahead - n)) for n in range(count)),
    st.integers(0, 200),
    st.sampled_from([10, 60, 1440]),
    st.integers(0, 30),
)


def check(ranges: list[Range], within: Range) -> None:
    """Newest first, without a hole, and from end to end."""
    assert ranges[0].upper == within.upper
    assert ranges[-1].lower == within.lower
    for newer, older in pairwise(ranges):
        assert newer.lower is not None
        assert older.upper == newer.lower
        assert older.lower is None or older.lower < newer.lower


@given(_STARTS, _MOMENT, _MOMENT)
def test_ranges_of_partitions_are_together_what_was_asked_for(
    starts: list[datetime], lower: datetime | None, upper: datetime | None
) -> None:
    within = Range(lower, upper)
    ranges = list(by_partitions(starts, within, now=NOW))
    check(ranges, within)
    for one in ranges:
        touched = [start for start in starts if (one.lower or start) <= start <= min(one.upper or NOW, NOW)]
        assert len(touched) <= PARTITIONS_AT_ONCE + 1


@given(
    _STARTS,
    _MOMENT,
    _MOMENT,
    st.lists(st.sampled_from([0.001, 0.1, 0.5, 3.0, None]), max_size=40),
)
def test_steps_are_together_what_was_asked_for_however_long_each_takes(
    starts: list[datetime], lower: datetime | None, upper: datetime | None, times: list[float | None]
) -> None:
    within = Range(lower, upper)
    steps = Steps(starts, within, NOW)
    ranges = []
    waiting = list(times)
    while (one := steps.next()) is not None:
        seconds = waiting.pop(0) if waiting else 0.001
        if seconds is None:
            if not steps.failed():
                break
            continue
        ranges.append(one)
        steps.took(seconds)
    else:
        check(ranges, within)
        assert len(ranges) < 400


def test_a_quick_search_takes_longer_steps_and_a_slow_one_shorter() -> None:
    starts = [NOW - timedelta(days=n) for n in range(20, -4, -1)]
    quick, slow = (Steps(starts, Range(None, None), NOW) for _ in range(2))
    lengths = []
    for steps, seconds in ((quick, 0.001), (slow, 2.0)):
        first = steps.next()
        steps.took(seconds)
        second = steps.next()
        assert first is not None
        assert second is not None
        assert first.lower is not None
        assert second.lower is not None
        lengths.append((first.lower - second.lower) / (NOW - first.lower))
    assert lengths == [4.0, 0.5]
