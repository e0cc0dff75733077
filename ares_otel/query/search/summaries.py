"""What found traces look like from afar: counts over all their spans, made by the database."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import from_micros
from ares_otel.query.ranges import PARTITIONS_AT_ONCE, Range, partition_starts
from ares_otel.query.reader import Reader, reading
from ares_otel.query.search.find import FoundTrace, FoundTraces, find_traces
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import SPANS

_STATEMENTS = load_statements("trace_summaries.sql")
AROUND = timedelta(days=1)
"""Spans of a trace are counted so long before and after those that matched; less where partitions are short."""
PARTITIONS_AROUND = 64
"""Partitions before and after them, at most."""
SECONDS = 10.0
"""After so long a statement is ended."""


@dataclass(slots=True)
class ServiceSpans:
    """Spans of one service in a trace."""

    name: str
    span_count: int
    error_span_count: int


@dataclass(slots=True)
class TraceSummary:
    """A trace in numbers."""

    trace_id: UUID
    root_service: str
    """Of the earliest span without a parent; where there is none, of the earliest orphan, else of the earliest span."""
    root_operation: str
    start_unix_nano: int
    end_unix_nano: int
    span_count: int
    error_span_count: int
    orphan_span_count: int
    """Spans whose parent is not in the trace."""
    services: list[ServiceSpans]
    """By name."""


class TraceSummaries(list[TraceSummary]):
    """Summaries, most recent trace first."""

    complete: bool = True
    """False when the search was over before everything was looked at."""


async def summarize_traces(pool: asyncpg.Pool, query: TraceQuery, *, now: datetime | None = None) -> TraceSummaries:
    """A summary of each trace that `find_traces` finds, in its order.

    Counted are the spans of a trace, matching or not, within `AROUND` of those that matched.

    Raises:
        Refused: the query cannot be served.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    found = await find_traces(pool, query, now=now)
    summaries = TraceSummaries(await summaries_of(pool, found))
    summaries.complete = found.complete
    return summaries


async def summaries_of(pool: asyncpg.Pool, found: FoundTraces) -> list[TraceSummary]:
    """The summaries of traces that were found, in their order. Raises DatabaseUnavailable, QueryTooSlow."""
    if not found:
        return []
    by_id: dict[UUID, TraceSummary] = {}
    async with reading(pool, heavy=True) as reader:
        starts = await partition_starts(pool, reader, SPANS)
        rows = await reader.fetch(_STATEMENTS["pinned"], ids=[trace.trace_id for trace in found])
        pinned = {row["trace_id"] for row in rows}
        for traces, range_ in _together(found, starts):
            await _count(reader, traces, range_, pinned, by_id)
    return [by_id[trace.trace_id] for trace in found if trace.trace_id in by_id]


def _together(found: Iterable[FoundTrace], starts: Sequence[datetime]) -> Iterator[tuple[list[FoundTrace], Range]]:
    """Traces that one statement counts, and where their spans may be: few partitions, however far apart these are."""
    traces: list[FoundTrace] = []
    lower = upper = datetime.min.replace(tzinfo=UTC)
    for trace in sorted(found, key=lambda trace: trace.start):
        last = max(upper, trace.end.time)
        if traces and bisect.bisect(starts, last) - bisect.bisect(starts, lower) > PARTITIONS_AT_ONCE:
            yield traces, _around(lower, upper, starts)
            traces = []
        if not traces:
            lower, last = trace.start.time, trace.end.time
        upper = last
        traces.append(trace)
    yield traces, _around(lower, upper, starts)


def _around(lower: datetime, upper: datetime, starts: Sequence[datetime]) -> Range:
    try:
        before, after = lower - AROUND, upper + AROUND
    except OverflowError:
        return Range(lower, upper + timedelta(microseconds=1))
    first = bisect.bisect(starts, lower) - 1 - PARTITIONS_AROUND
    last = bisect.bisect(starts, upper) + PARTITIONS_AROUND
    if first >= 0:
        before = max(before, starts[first])
    if last < len(starts):
        after = min(after, starts[last])
    return Range(before, after)


@dataclass(slots=True)
class _Counted:
    """What was counted of one trace."""

    root: list[Any] = field(default_factory=list)
    root_service: str = ""
    rows: list[Any] = field(default_factory=list)

    def add(self, row: Any) -> None:
        self.rows.append(row)
        if not self.root or row["root"] < self.root:
            self.root, self.root_service = row["root"], row["service_name"]

    @property
    def root_id(self) -> bytes:
        return int(self.root[3]).to_bytes(8, "big", signed=True)

    @property
    def root_filed(self) -> datetime:
        return from_micros(int(self.root[2]) // 1000)


async def _count(
    reader: Reader, traces: Sequence[FoundTrace], range_: Range, pinned: set[UUID], by_id: dict[UUID, TraceSummary]
) -> None:
    ids = [trace.trace_id for trace in traces]
    copied = [trace_id for trace_id in ids if trace_id in pinned] or None
    values: dict[str, object] = {"ids": ids, "pinned": copied, "lower": range_.lower, "upper": range_.upper}
    counted: dict[UUID, _Counted] = {}
    for row in await reader.fetch_within(SECONDS, _STATEMENTS["summaries"], **values):
        counted.setdefault(row["trace_id"], _Counted()).add(row)
    if not counted:
        return
    roots = list(counted.values())
    values["ids"] = list(counted)
    values |= {"spans": [one.root_id for one in roots], "starts": [one.root_filed for one in roots]}
    rows = await reader.fetch_within(SECONDS, _STATEMENTS["names"], **values)
    names = {row["trace_id"]: row["operation_name"] for row in rows}
    for trace_id, one in counted.items():
        by_id[trace_id] = _summary(trace_id, one, names.get(trace_id, ""))


def _summary(trace_id: UUID, counted: _Counted, name: str) -> TraceSummary:
    rows = counted.rows
    return TraceSummary(
        trace_id=trace_id,
        root_service=counted.root_service,
        root_operation=name,
        start_unix_nano=int(min(row["starts"] for row in rows)),
        end_unix_nano=int(max(row["ends"] for row in rows)),
        span_count=sum(row["spans"] for row in rows),
        error_span_count=sum(row["errors"] for row in rows),
        orphan_span_count=sum(row["orphans"] for row in rows),
        services=sorted(
            (ServiceSpans(row["service_name"], row["spans"], row["errors"]) for row in rows),
            key=lambda service: service.name,
        ),
    )
