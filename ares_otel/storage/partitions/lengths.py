"""How long a partition is: the more rows arrive, the shorter, so that what has no search indexes yet stays small.

Lengths come from a fixed ladder, each a divisor of the next, and begin at midnight UTC: partitions of different lengths
lie beside each other and never overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

DAY = timedelta(days=1)
LENGTHS = (DAY, timedelta(hours=6), timedelta(hours=1), timedelta(minutes=10))
"""The ladder, the longest first."""
LABELS = {LENGTHS[1]: "6h", LENGTHS[2]: "1h", LENGTHS[3]: "10m"}
"""How a length stands in a name; a day is not named."""
MAX_ROWS = 4_000_000
"""Rows that a partition may get: an open one is searched without indexes, at about 1.6 million rows a second and core
(docs/queries.md)."""
SPARE = 0.5
"""A longer length is taken only when a partition would get this part of the rows it may: no going to and fro."""
AHEAD = 3
"""Days for which partitions are kept ready after today: a job that does not run for three days loses nothing."""
AHEAD_COUNT = 24
"""Short ones no more than this many; what the job does not make in time is made when the first row needs it."""
PAST = 2
"""Days kept ready before today, for late senders and skewed clocks."""


def length_for(rows_per_second: float, current: timedelta = DAY) -> timedelta:
    """The length of new partitions at this rate, where it was `current` so far."""
    for length in LENGTHS:
        most = MAX_ROWS if length <= current else MAX_ROWS * SPARE
        if rows_per_second * length.total_seconds() <= most:
            return length
    return LENGTHS[-1]


def ahead_of(length: timedelta) -> timedelta:
    """How far ahead partitions of this length are kept ready."""
    return min(AHEAD * DAY, AHEAD_COUNT * length)


def midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def aligned(time: datetime, length: timedelta) -> datetime:
    """Where the partition of this length begins that holds the time."""
    start = midnight(time)
    return start + (time - start) // length * length


def name_for(table: str, start: datetime, length: timedelta) -> str:
    """The name of a partition: `service_spans_20260131`, `service_spans_20260131_0610_10m`."""
    label = LABELS.get(length)
    return f"{table}_{start:%Y%m%d}" if label is None else f"{table}_{start:%Y%m%d_%H%M}_{label}"


def pieces(start: datetime, end: datetime, longest: timedelta) -> Iterator[tuple[datetime, timedelta]]:
    """Start and length of partitions that fill a gap, none longer than `longest`.

    What is left between a bound that somebody set by hand and the next ten minutes stays a gap.
    """
    step = LENGTHS[-1]
    if start != aligned(start, step):
        start = aligned(start, step) + step
    while start < end:
        fitting = (n for n in LENGTHS if n <= longest and start == aligned(start, n) and start + n <= end)
        length = next(fitting, None)
        if length is None:
            return
        yield start, length
        start += length


def gaps(taken: Iterable[tuple[datetime, datetime]], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """What of the range is in none of the ranges that are taken."""
    found = []
    for low, high in sorted(taken):
        if high <= start:
            continue
        if low >= end:
            break
        if low > start:
            found.append((start, low))
        start = max(start, high)
    if start < end:
        found.append((start, end))
    return found


def missing(
    taken: Sequence[tuple[datetime, datetime]], now: datetime, length: timedelta
) -> list[tuple[datetime, timedelta]]:
    """Start and length of the partitions that are to be made around now, where those ranges are taken."""
    begin = midnight(now) - PAST * DAY
    current = aligned(now, length)
    wanted: list[tuple[datetime, timedelta]] = []
    for low, high in gaps(taken, begin, current + length + ahead_of(length)):
        if low < current:  # what is over may be long: little is going to arrive there
            wanted += pieces(low, min(high, current), DAY)
        if high > current:
            wanted += pieces(max(low, current), high, length)
    return wanted
