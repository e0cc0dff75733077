"""One trace: its spans as a tree, its logs, and what they say together."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant, to_micros
from ares_otel.query.ranges import Range, by_partitions, just_after, partition_starts, time_of
from ares_otel.query.reader import MAX_BYTES, QueryTooSlow, Reader, reading
from ares_otel.query.rows import Json, LogRow, SpanRow, rows_of, was_cut
from ares_otel.query.statements import load_statements
from ares_otel.query.trace_tree import TreeSpan, build_tree
from ares_otel.storage.rows.encoded import LOGS, SPANS

_STATEMENTS = load_statements("traces.sql")
MAX_SPANS = 10_000
"""Spans, and as many log records, that one answer may hold."""
_SCAN = 10 * MAX_SPANS
GAP = timedelta(days=1)
"""A trace whose spans and log records lie closer together than this is found as a whole."""
SEARCH_SECONDS = 10.0
"""After so long a search gives up."""
_HEX = re.compile(r"[0-9a-f]{16,32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PlacedSpan:
    """A span and its place in the tree."""

    row: SpanRow
    depth: int
    self_time_ms: float


@dataclass(frozen=True, slots=True)
class Trace:
    trace_id: UUID
    spans: list[PlacedSpan]
    """In tree order: a parent before its children, siblings by start."""
    logs: list[LogRow]
    """Oldest first."""
    services: list[str]
    """Names of the services of spans and logs, sorted."""
    duration_ms: float
    """From the first start to the last end of the spans, as their senders' clocks have them; 0 without spans."""
    error_count: int
    """Spans whose status is error."""
    resources: dict[UUID, Json]
    """Attributes of the resources that spans and logs refer to."""
    warnings: list[str]
    truncated: bool
    """Whether there are more spans or logs than an answer may hold; the figures count what is here."""
    searched_from: datetime | None
    """What is older was not looked at; None where everything was that could be meant."""


def parse_trace_id(text: str) -> UUID:
    """Reads a trace id: 32 hex digits, the same with a UUID's dashes, or the 16 to 31 of a shorter id.

    Raises:
        ValueError: it is none. The message is a sentence without a subject.
    """
    lowered = text.lower() if len(text) <= 36 else ""
    if not _HEX.fullmatch(lowered):
        raise ValueError("must be a trace id: 32 hex digits, with or without dashes (an id of 64 bits has 16)")
    return UUID(hex=lowered.replace("-", "").zfill(32))


async def find_trace(
    pool: asyncpg.Pool,
    trace_id: UUID,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    now: datetime | None = None,
) -> Trace | None:
    """The trace, or None where neither a span nor a log record has this id.

    At most `MAX_SPANS` spans (the earliest of what was searched) and as many logs, fewer where they are so large that
    they pass `reader.MAX_BYTES`. Without `start` the search goes back in time until something was found and nothing
    more for `GAP` before it; `Trace.searched_from` tells how far that was.

    Args:
        start, end: only spans that started, and log records of, at or after the one and before the other.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`; the second also when `SEARCH_SECONDS` were not enough.
    """
    async with reading(pool) as reader:
        found = await _search(pool, reader, trace_id, start, end, now)
        spans, logs = found.spans.rows, found.logs.rows
        if not spans and not logs:
            return None
        rows = [*spans, *logs]
        ids = {row["resource_id"] for row in rows} - {None}
        resources = await reader.fetch(
            _STATEMENTS["resources"],
            tenants=sorted({row["tenant_id"] for row in rows}),
            ids=sorted(ids),
            max_bytes=MAX_BYTES,
        )
    # A large trace takes longer than the event loop may stand still.
    return await asyncio.to_thread(_assembled, trace_id, found, resources)


@dataclass(slots=True)
class _Kept:
    """Rows of one table, the earliest first, as many as an answer may hold."""

    time: str
    ns: str
    rows: list[Any] = field(default_factory=list)
    cut: bool = False

    def add(self, older: list[Any]) -> None:
        """Rows of an earlier range come before those that are here."""
        self.cut = self.cut or was_cut(older, MAX_SPANS)
        rows: list[Any] = []
        size = 0
        for row in [*older, *self.rows]:
            if len(rows) >= MAX_SPANS or size >= MAX_BYTES:
                self.cut = True
                break
            rows.append(row)
            size += row["row_bytes"]
        self.rows = rows

    @property
    def first(self) -> datetime | None:
        return self.rows[0][self.time] if self.rows else None


@dataclass(slots=True)
class _Found:
    spans: _Kept = field(default_factory=lambda: _Kept("start_time", "start_ns"))
    logs: _Kept = field(default_factory=lambda: _Kept("timestamp", "timestamp_ns"))
    searched_from: datetime | None = None

    @property
    def first(self) -> datetime | None:
        """The time of the earliest row."""
        return min((first for first in (self.spans.first, self.logs.first) if first is not None), default=None)


async def _search(
    pool: asyncpg.Pool,
    reader: Reader,
    trace_id: UUID,
    start: Instant | None,
    end: Instant | None,
    now: datetime | None,
) -> _Found:
    """Spans and logs, range after range back in time, until the trace seems to be complete."""
    began = time.monotonic()
    found = _Found()
    values = {
        "trace_id": trace_id,
        "scan": _SCAN,
        "limit": MAX_SPANS + 1,
        "max_bytes": MAX_BYTES,
        "from_time": start and start.time,
        "from_ns": start and start.ns,
        "to_time": end and end.time,
        "to_ns": end and end.ns,
    }
    starts = sorted({*await partition_starts(pool, reader, SPANS), *await partition_starts(pool, reader, LOGS)})
    within = Range(time_of(start), just_after(end))
    for range_ in by_partitions(starts, within, now=now):
        bounds = {"lower": range_.lower, "upper": range_.upper}
        found.spans.add(await reader.fetch(_STATEMENTS["trace_spans"], **values, **bounds))
        found.logs.add(await reader.fetch(_STATEMENTS["trace_logs"], **values, **bounds))
        if range_.lower == within.lower:
            break
        assert range_.lower is not None
        found.searched_from = range_.lower
        first = found.first
        complete = first is not None and start is None and range_.lower <= first - GAP
        if complete or found.spans.cut or found.logs.cut:
            return found
        if time.monotonic() - began > SEARCH_SECONDS:
            raise QueryTooSlow(
                f"The trace was looked for back to {range_.lower:%Y-%m-%dT%H:%M:%SZ} when the time was over; "
                "give `from` and `to`, between which it lies."
            )
    found.searched_from = None
    return found


def _assembled(trace_id: UUID, found: _Found, resources: list[Any]) -> Trace:
    rows = rows_of(SpanRow, found.spans.rows)
    log_rows = rows_of(LogRow, found.logs.rows)
    nodes = [
        TreeSpan(row.span_id, row.parent_span_id, row.service_name, start_unix_nano(row), row.duration_ns)
        for row in rows
    ]
    tree = build_tree(nodes)
    first = min((node.start_ns for node in nodes), default=0)
    last = max((node.start_ns + node.duration_ns for node in nodes), default=0)
    return Trace(
        trace_id=trace_id,
        spans=[PlacedSpan(rows[place.index], place.depth, place.self_time_ns / 1e6) for place in tree.order],
        logs=log_rows,
        services=sorted({row.service_name for row in rows} | {row.service_name for row in log_rows}),
        duration_ms=(last - first) / 1e6,
        error_count=sum(row.status == "error" for row in rows),
        resources={UUID(int=record["resource_id"].int): Json(record["attributes"]) for record in resources},
        warnings=tree.warnings,
        truncated=found.spans.cut or found.logs.cut,
        searched_from=found.searched_from,
    )


def start_unix_nano(row: SpanRow) -> int:
    """The span's start as its sender gave it, also where the row is filed under its receive time."""
    if row.original_time_unix_nano is not None:
        return int(row.original_time_unix_nano)
    return to_micros(row.start_time) * 1000 + row.start_ns
