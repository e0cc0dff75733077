"""Where the spans and log records of one trace lie: the ranges of time that hold some, without reading them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from ares_otel.query import trace_search
from ares_otel.query.instant import Instant
from ares_otel.query.ranges import Range, by_partitions, just_after, partition_starts, time_of
from ares_otel.query.reader import Reader, reading
from ares_otel.query.trace_search import CHEAP_RANGES, GAP, STATEMENTS, out_of_time, pinned_since
from ares_otel.storage.rows.encoded import LOGS, SPANS

SCAN = 10_000
"""Rows of a range that are looked at to find the earliest and the latest. One with more counts as full of them."""


class TracePlaces:
    """One look, back in time as far as `TraceSearch` goes: until something was found and nothing more for
    `trace_search.GAP` before it."""

    def __init__(
        self,
        trace_id: UUID,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        near: tuple[Instant, Instant] | None = None,
        now: datetime | None = None,
    ) -> None:
        """
        Args:
            start, end: only what is filed at or after the one and before the other.
            near: where some spans of the trace are known to lie: the look begins there, and goes both ways.
        """
        self.pinned = False
        """Whether the trace is pinned: then copies of its rows may lie in the ranges."""
        self._spans: list[Range] = []
        self._logs: list[Range] = []
        self._trace_id = trace_id
        self._values = {
            "trace_id": trace_id,
            "from_time": start and start.time,
            "from_ns": start and start.ns,
            "to_time": end and end.time,
            "to_ns": end and end.ns,
        }
        self._now = now or datetime.now(UTC)
        self._within = Range(time_of(start), just_after(end))
        self._bounded = start is not None
        self._began_near = near is not None and end is None and near[1].time < self._now - GAP
        if near is not None and self._began_near:
            self._within = Range(self._within.lower, near[1].time + GAP)
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._ranges: Iterator[Range] = iter(())
        self._ends_at = 0.0

    @property
    def spans(self) -> list[Range]:
        """Ranges that hold spans, the oldest first."""
        return sorted(self._spans, key=_lower)

    @property
    def logs(self) -> list[Range]:
        """The same for log records."""
        return sorted(self._logs, key=_lower)

    async def look(self, pool: asyncpg.Pool, reader: Reader) -> bool:
        """The first part, which is cheap. Whether it was enough; else `go_on` has to follow.

        Raises:
            DatabaseUnavailable, QueryTooSlow: see `reader`.
        """
        self._ends_at = time.monotonic() + trace_search.SEARCH_SECONDS
        tables = [await partition_starts(pool, reader, table) for table in (SPANS, LOGS)]
        pinned = await pinned_since(reader, self._trace_id)
        self.pinned, self._first = pinned is not None, pinned
        self._ranges = self._wanted(sorted({start for starts in tables for start in starts}))
        return await self._look(reader, CHEAP_RANGES)

    async def go_on(self, pool: asyncpg.Pool) -> None:
        """The rest, as one of the searches that may take long.

        Raises:
            DatabaseUnavailable, QueryTooSlow: see `reader`; the second also when nothing was found in the time.
        """
        async with reading(pool, heavy=True) as reader:
            await self._look(reader, sys.maxsize)

    async def _look(self, reader: Reader, most: int) -> bool:
        """Looks at so many ranges. Whether it was enough."""
        for _ in range(most):
            range_ = next(self._ranges, None)
            if range_ is None:
                return True
            await self._read(reader, range_)
            if time.monotonic() > self._ends_at and range_.lower is not None:
                if self._spans or self._logs:
                    return True
                raise out_of_time(range_.lower)
        return False

    def _wanted(self, starts: Sequence[datetime]) -> Iterator[Range]:
        """The ranges to look at; which come, what was found in the earlier ones decides."""
        for range_ in by_partitions(starts, self._within, now=self._now):
            yield range_
            if self._bounded or self._first is None or range_.lower is None:
                continue
            if range_.lower <= self._first - GAP:
                break
        upper = self._within.upper
        while self._began_near and upper is not None and self._last is not None and self._last > upper - GAP:
            reach = self._last + GAP
            yield from by_partitions(starts, Range(upper, reach), now=reach)
            upper = reach

    async def _read(self, reader: Reader, range_: Range) -> None:
        [row] = await reader.fetch(
            STATEMENTS["trace_firsts"],
            **self._values,
            lower=range_.lower,
            upper=range_.upper,
            scan=SCAN,
            pinned=self.pinned or None,
        )
        if row["spans"]:
            self._spans.append(range_)
        if row["logs"]:
            self._logs.append(range_)
        whole = row["spans"] < SCAN and row["logs"] < SCAN
        firsts = [row["first_span"], row["first_log"], None if whole else range_.lower, self._first]
        self._first = min((first for first in firsts if first is not None), default=None)
        lasts = [row["last_span"], row["last_log"], None if whole else range_.upper, self._last]
        self._last = max((last for last in lasts if last is not None), default=None)


def _lower(range_: Range) -> datetime:
    return range_.lower or datetime.min.replace(tzinfo=UTC)


async def has_spans(
    pool: asyncpg.Pool, trace_id: UUID, *, start: Instant | None = None, end: Instant | None = None
) -> bool:
    """Whether a span of the trace is filed at or after `start` and before `end`.

    Raises DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    places = TracePlaces(trace_id, start, end)
    async with reading(pool) as reader:
        complete = await places.look(pool, reader)
    if not complete:
        await places.go_on(pool)
    return bool(places.spans)
