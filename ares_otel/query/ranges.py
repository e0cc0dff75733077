"""A search over a partitioned table, range after range, the newest first.

A statement without a range of time is planned over every partition: with thousands of them that takes seconds, and
locks that others need. One with bounds is planned over those that it can touch. So a search is cut into ranges that
hold few partitions each, and stops when it has what it was asked for.
"""

from __future__ import annotations

import bisect
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import asyncpg

from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements

_STARTS = load_statements("ranges.sql")["starts"]
PARTITIONS_AT_ONCE = 32
"""Partitions that one statement may touch, besides those that are yet to come."""
KNOWN_SECONDS = 300.0
"""How long the partitions' starts are remembered: what changes meanwhile makes ranges longer or shorter, not fewer."""
_POOLS = 4
"""Pools whose partitions are remembered."""

FIRST_RANGE = timedelta(seconds=4)
SMALLEST_RANGE = timedelta(seconds=1)
QUICK_SECONDS, SLOW_SECONDS = 0.05, 0.25
"""A statement that took less, or more: the next range is longer, or not."""

_MICROSECOND = timedelta(microseconds=1)

_known: OrderedDict[tuple[int, str], tuple[asyncpg.Pool, float, list[datetime]]] = OrderedDict()


class Range(NamedTuple):
    """`lower <= t < upper`; None is no bound."""

    lower: datetime | None
    upper: datetime | None


async def partition_starts(pool: asyncpg.Pool, reader: Reader, table: str) -> Sequence[datetime]:
    """Where the partitions of a table begin, the oldest first, as they were at most `KNOWN_SECONDS` ago.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    key = (id(pool), table)
    entry = _known.get(key)
    if entry is not None and entry[0] is pool and time.monotonic() - entry[1] < KNOWN_SECONDS:
        return entry[2]
    rows = await reader.fetch(_STARTS, table=table)
    starts = sorted(row["start"].astimezone(UTC) for row in rows if row["start"] is not None)
    _known[key] = (pool, time.monotonic(), starts)
    _known.move_to_end(key)
    while len(_known) > 2 * _POOLS:
        _known.popitem(last=False)
    return starts


class _Moment(Protocol):
    @property
    def time(self) -> datetime: ...


def time_of(moment: _Moment | None) -> datetime | None:
    """The time of an instant or a cursor, to the microsecond."""
    return None if moment is None else moment.time


def just_after(*moments: _Moment | None) -> datetime | None:
    """The end of a range whose last moment is the earliest of those that are given; None without any."""
    given = [moment.time for moment in moments if moment is not None]
    try:
        return min(given) + _MICROSECOND if given else None
    except OverflowError:
        return None


def by_partitions(
    starts: Sequence[datetime], within: Range = Range(None, None), *, now: datetime | None = None
) -> Iterator[Range]:
    """Ranges of at most `PARTITIONS_AT_ONCE` partitions (and in the first one those of the future), the newest first.

    Together they are exactly `within`, also where partitions came or went since `starts` was read.
    """
    upper = within.upper
    top = min(upper, now or datetime.now(UTC)) if upper is not None else (now or datetime.now(UTC))
    place = bisect.bisect_right(starts, top)
    while True:
        place -= PARTITIONS_AT_ONCE
        lower = starts[place] if place > 0 else None
        if lower is None or (within.lower is not None and lower <= within.lower):
            yield Range(within.lower, upper)
            return
        yield Range(lower, upper)
        upper = lower


@dataclass(slots=True)
class Steps:
    """Ranges whose length follows the time that they took: a search without an index reads what it must and no more.

    Use: `while (wanted := steps.next()) is not None`, then `took(seconds)` or `failed()`.
    """

    starts: Sequence[datetime]
    within: Range
    now: datetime
    first: timedelta = FIRST_RANGE
    _upper: datetime | None = None
    _length: timedelta = FIRST_RANGE
    _began: bool = False
    _done: bool = False
    _range: Range | None = None

    def __post_init__(self) -> None:
        self._length = self.first
        self._upper = self.within.upper

    def next(self) -> Range | None:
        """The range to look at now; None when all of `within` was looked at."""
        if self._done:
            return None
        top = self.now if self._upper is None else min(self._upper, self.now)
        lower: datetime | None = self._reach(top)
        if lower is None or (self.within.lower is not None and lower <= self.within.lower):
            lower = self.within.lower
        self._range = Range(lower, self._upper)
        return self._range

    def _reach(self, top: datetime) -> datetime | None:
        """Where a range that ends at `top` begins; None where nothing can be older."""
        try:
            lower = top - self._length
        except OverflowError:
            return None
        place = bisect.bisect_right(self.starts, top) - PARTITIONS_AT_ONCE
        if place > 0:
            lower = max(lower, self.starts[place])
        return lower if self.starts and lower > self.starts[0] else None

    def took(self, seconds: float) -> None:
        """The range was looked at, in this time."""
        assert self._range is not None
        self._began = True
        lower = self._range.lower
        if lower is None or lower == self.within.lower:
            self._done = True
        self._upper = lower
        if seconds < QUICK_SECONDS:
            self._length *= 4
        elif seconds < SLOW_SECONDS:
            self._length *= 2
        elif seconds > 4 * SLOW_SECONDS:
            self._length = max(SMALLEST_RANGE, self._length / 2)
        self._length = min(self._length, timedelta(days=3650))

    def failed(self) -> bool:
        """The range takes too long: a shorter one is next. False when it is as short as they get."""
        if self._length <= SMALLEST_RANGE:
            return False
        self._length = max(SMALLEST_RANGE, self._length / 8)
        return True

    @property
    def reached(self) -> datetime | None:
        """Everything from here on was looked at; None when nothing was."""
        return self._upper if self._began else None
