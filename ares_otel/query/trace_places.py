"""Where the spans and log records of one trace lie: the ranges of time that hold some, without reading them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from uuid import UUID

import asyncpg

from ares_otel.query import trace_search
from ares_otel.query.instant import Instant
from ares_otel.query.ranges import Range, by_partitions, just_after, partition_starts, time_of
from ares_otel.query.reader import Reader, reading
from ares_otel.query.trace_search import CHEAP_RANGES, GAP, STATEMENTS, out_of_time, pinned_since
from ares_otel.storage.rows.encoded import LOGS, SPANS

SCAN = 10_000
"""Rows of a range that are looked at to find the earliest of them. A range with more is not the last one looked at."""


class TracePlaces:
    """One look, back in time as far as `TraceSearch` goes: until something was found and nothing more for
    `trace_search.GAP` before it."""

    def __init__(
        self, trace_id: UUID, start: Instant | None = None, end: Instant | None = None, *, now: datetime | None = None
    ) -> None:
        """
        Args:
            start, end: only what is filed at or after the one and before the other.
        """
        self.spans: list[Range] = []
        """Ranges that hold spans (or may, at the edges of `start` and `end`), the oldest first."""
        self.logs: list[Range] = []
        """The same for log records."""
        self.pinned = False
        """Whether the trace is pinned: then copies of its rows may lie in the ranges."""
        self._trace_id = trace_id
        self._within = Range(time_of(start), just_after(end))
        self._bounded = start is not None
        self._now = now
        self._first: datetime | None = None
        self._ranges: Iterator[Range] = iter(())
        self._ends_at = 0.0

    async def look(self, pool: asyncpg.Pool, reader: Reader) -> bool:
        """The first part, which is cheap. Whether it was enough; else `go_on` has to follow.

        Raises:
            DatabaseUnavailable, QueryTooSlow: see `reader`.
        """
        self._ends_at = time.monotonic() + trace_search.SEARCH_SECONDS
        tables = [await partition_starts(pool, reader, table) for table in (SPANS, LOGS)]
        starts = sorted({start for starts in tables for start in starts})
        self._ranges = by_partitions(starts, self._within, now=self._now)
        pinned = await pinned_since(reader, self._trace_id)
        self.pinned, self._first = pinned is not None, pinned
        return await self._look(reader, islice(self._ranges, CHEAP_RANGES))

    async def go_on(self, pool: asyncpg.Pool) -> None:
        """The rest, as one of the searches that may take long.

        Raises:
            DatabaseUnavailable, QueryTooSlow: see `reader`; the second also when nothing was found in the time.
        """
        async with reading(pool, heavy=True) as reader:
            await self._look(reader, self._ranges)

    async def _look(self, reader: Reader, ranges: Iterator[Range]) -> bool:
        for range_ in ranges:
            whole = await self._read(reader, range_)
            if range_.lower == self._within.lower:
                return True
            assert range_.lower is not None
            if whole and self._first is not None and not self._bounded and range_.lower <= self._first - GAP:
                return True
            if time.monotonic() > self._ends_at:
                if self.spans or self.logs:
                    return True
                raise out_of_time(range_.lower)
        return False

    async def _read(self, reader: Reader, range_: Range) -> bool:
        """Whether the earliest row of the range is known."""
        [row] = await reader.fetch(
            STATEMENTS["trace_firsts"],
            trace_id=self._trace_id,
            lower=range_.lower,
            upper=range_.upper,
            scan=SCAN,
            pinned=self.pinned or None,
        )
        if row["spans"]:
            self.spans.insert(0, range_)
        if row["logs"]:
            self.logs.insert(0, range_)
        firsts = [first for first in (row["first_span"], row["first_log"], self._first) if first is not None]
        self._first = min(firsts, default=None)
        return bool(row["spans"] < SCAN and row["logs"] < SCAN)
