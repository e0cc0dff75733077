"""Finding the rows of one trace in tables with thousands of partitions: back in time, range after range."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.ranges import Range, by_partitions, just_after, partition_starts, time_of
from ares_otel.query.reader import QueryTooSlow, Reader, reading
from ares_otel.query.rows import was_cut
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import LOGS, SPANS

STATEMENTS = load_statements("trace_search.sql")
GAP = timedelta(days=1)
"""A trace whose spans and log records lie closer together than this is found as a whole."""
SEARCH_SECONDS = 10.0
"""After so long a search ends."""
CHEAP_RANGES = 8
"""A lookup that needs more ranges than this counts among the searches that may take long."""


@dataclass(slots=True)
class Kept:
    """Rows of one table, the earliest first, as many as an answer may hold."""

    time: str
    """The column that they are ordered by."""
    limit: int
    max_bytes: int
    rows: list[Any] = field(default_factory=list)
    cut: bool = False
    """Whether there are more."""

    def add(self, older: list[Any]) -> None:
        """Rows of an earlier range come before those that are here."""
        self.cut = self.cut or was_cut(older, self.limit)
        rows: list[Any] = []
        size = 0
        for row in [*older, *self.rows]:
            if len(rows) >= self.limit or size >= self.max_bytes:
                self.cut = True
                break
            rows.append(row)
            size += row["row_bytes"]
        self.rows = rows

    @property
    def first(self) -> datetime | None:
        return self.rows[0][self.time] if self.rows else None


class TraceSearch:
    """One lookup: what was found, and how far back it looked."""

    def __init__(
        self, trace_id: UUID, start: Instant | None, end: Instant | None, *, limit: int, max_bytes: int, scan: int
    ) -> None:
        """
        Args:
            start, end: only rows at or after the one and before the other; None looks until the trace seems complete.
            limit: rows of each table.
            max_bytes: text of the rows of each table.
            scan: rows of a range that are read at most.
        """
        self.spans = Kept("start_time", limit, max_bytes)
        self.logs = Kept("timestamp", limit, max_bytes)
        self.searched_from: datetime | None = None
        """What is older was not looked at; None where everything was that could be meant."""
        self._within = Range(time_of(start), just_after(end))
        self._trace_id = trace_id
        self._values = {
            "trace_id": trace_id,
            "scan": scan,
            "limit": limit + 1,
            "max_bytes": max_bytes,
            "from_time": start and start.time,
            "from_ns": start and start.ns,
            "to_time": end and end.time,
            "to_ns": end and end.ns,
        }
        self._bounded = start is not None
        self._pinned: datetime | None = None
        """Where the copies of a pinned trace begin."""

    @property
    def rows(self) -> list[Any]:
        """Spans and log records."""
        return [*self.spans.rows, *self.logs.rows]

    async def run(
        self, pool: asyncpg.Pool, now: datetime | None, *, then: Callable[[Reader], Awaitable[list[Any]]]
    ) -> list[Any]:
        """Looks, and returns what `then` makes of the reader that found the last of it.

        Raises:
            DatabaseUnavailable, QueryTooSlow: see `reader`; the second also when nothing was found in the time.
        """
        ends_at = time.monotonic() + SEARCH_SECONDS
        async with reading(pool) as reader:
            tables = [await partition_starts(pool, reader, table) for table in (SPANS, LOGS)]
            ranges = by_partitions(sorted({start for starts in tables for start in starts}), self._within, now=now)
            self._pinned = await pinned_since(reader, self._trace_id)
            if await self._look(reader, islice(ranges, CHEAP_RANGES), ends_at):
                return await then(reader)
        async with reading(pool, heavy=True) as reader:
            await self._look(reader, ranges, ends_at)
            return await then(reader)

    async def _look(self, reader: Reader, ranges: Iterator[Range], ends_at: float) -> bool:
        """Whether the trace is complete, as far as can be known."""
        for range_ in ranges:
            await self._read(reader, range_)
            if range_.lower == self._within.lower:
                self.searched_from = None
                return True
            assert range_.lower is not None
            self.searched_from = range_.lower
            firsts = [first for first in (self.spans.first, self.logs.first, self._pinned) if first is not None]
            if firsts and not self._bounded and range_.lower <= min(firsts) - GAP:
                return True
            if self.spans.cut or self.logs.cut:
                return True
            if time.monotonic() > ends_at:
                if self.rows:
                    return True
                raise out_of_time(range_.lower)
        return False

    async def _read(self, reader: Reader, range_: Range) -> None:
        bounds = {"lower": range_.lower, "upper": range_.upper, "pinned": self._pinned and True}
        spans = logs = True
        if range_.upper != self._within.upper:  # the newest range is where most traces are: it is read at once
            [(spans, logs)] = await reader.fetch(STATEMENTS["trace_places"], trace_id=self._trace_id, **bounds)
        if spans:
            self.spans.add(await reader.fetch(STATEMENTS["trace_spans"], **self._values, **bounds))
        if logs:
            self.logs.add(await reader.fetch(STATEMENTS["trace_logs"], **self._values, **bounds))


def out_of_time(reached: datetime) -> QueryTooSlow:
    """For a search that found nothing in its time."""
    return QueryTooSlow(
        f"Nothing was found back to {reached:%Y-%m-%dT%H:%M:%SZ} when the time was over; give `from` and `to`, between "
        "which the trace lies."
    )


async def pinned_since(reader: Reader, trace_id: UUID) -> datetime | None:
    """Where the copies of a pinned trace begin; None for a trace that is not pinned. Raises as `Reader.fetch` does."""
    rows = await reader.fetch(STATEMENTS["pinned"], trace_id=trace_id)
    return rows[0]["first"] if rows else None
