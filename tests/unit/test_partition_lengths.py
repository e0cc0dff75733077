"""Lengths of partitions: what volume asks for, and ranges that fit together whatever was there before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ares_otel.storage.partitions.lengths import (
    AHEAD_COUNT,
    DAY,
    LENGTHS,
    MAX_ROWS,
    PAST,
    SPARE,
    ahead_of,
    aligned,
    gaps,
    length_for,
    midnight,
    missing,
    name_for,
    pieces,
)

_NOW = st.datetimes(datetime(2020, 1, 5), datetime(2030, 1, 1), timezones=st.just(UTC))
_LENGTH = st.sampled_from(LENGTHS)


def test_more_rows_make_shorter_partitions_down_to_the_shortest() -> None:
    assert [length_for(rate) for rate in (0.0, 40.0, 100.0, 1_000.0, 10_000.0, 1e9)] == [
        LENGTHS[0],
        LENGTHS[0],
        LENGTHS[1],
        LENGTHS[2],
        LENGTHS[3],
        LENGTHS[3],
    ]


@given(st.floats(0, 1e6), _LENGTH)
def test_a_length_is_kept_while_the_rate_goes_to_and_fro_around_its_bound(rate: float, current: timedelta) -> None:
    length = length_for(rate, current)
    assert length == LENGTHS[-1] or rate * length.total_seconds() <= MAX_ROWS
    assert length_for(rate, length) == length
    if length > current:
        assert length_for(rate / SPARE, length) == length, "twice the rate is needed to go back"


@given(_NOW, _LENGTH)
def test_partitions_made_anew_cover_the_past_and_the_time_ahead_without_a_hole(
    now: datetime, length: timedelta
) -> None:
    made = missing([], now, length)
    at = midnight(now) - PAST * DAY
    for start, piece in made:
        assert start == at
        assert start == aligned(start, piece)
        assert piece <= length or start + piece <= now
        at = start + piece
    assert at == aligned(now, length) + length + ahead_of(length)
    assert len(made) <= AHEAD_COUNT + 2 * PAST + 12
    assert missing([(start, start + piece) for start, piece in made], now, length) == []


@given(_NOW, _LENGTH, _LENGTH, st.timedeltas(timedelta(0), timedelta(days=10)))
def test_a_changed_length_goes_on_where_the_partitions_before_end(
    now: datetime, before: timedelta, after: timedelta, passed: timedelta
) -> None:
    taken = [(start, start + piece) for start, piece in missing([], now, before)]
    new = [(start, start + piece) for start, piece in missing(taken, now + passed, after)]
    everything = sorted(taken + new)
    assert all(high <= low for (_, high), (low, _) in pairwise(everything))
    later = now + passed
    assert any(low <= later < high for low, high in everything)
    assert gaps(everything, later, later + ahead_of(after)) == []


@given(_NOW, st.timedeltas(timedelta(0), timedelta(days=3)), _LENGTH)
def test_a_gap_between_bounds_set_by_hand_is_filled_as_far_as_ten_minutes_go(
    start: datetime, width: timedelta, longest: timedelta
) -> None:
    found = list(pieces(start, start + width, longest))
    assert all(low >= start and low + length <= start + width for low, length in found)
    covered = sum((length for _, length in found), timedelta(0))
    assert width - covered < 2 * LENGTHS[-1]


@given(_NOW, st.integers(0, 1000), st.sampled_from([(a, b) for a in LENGTHS for b in LENGTHS if a != b]))
def test_partitions_of_two_lengths_never_share_a_name(
    now: datetime, number: int, lengths: tuple[timedelta, timedelta]
) -> None:
    names = [name_for("service_spans", aligned(now, length), length) for length in lengths]
    assert names[0] != names[1]
    assert all(len(name) <= 63 for name in names)
