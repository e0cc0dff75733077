"""One trace: its spans as a tree, its logs, and what they say together."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant, to_micros
from ares_otel.query.reader import MAX_BYTES, Reader
from ares_otel.query.rows import Json, LogRow, SpanRow, rows_of
from ares_otel.query.statements import load_statements
from ares_otel.query.trace_search import TraceSearch
from ares_otel.query.trace_tree import TreeSpan, build_tree

_STATEMENTS = load_statements("traces.sql")
MAX_SPANS = 10_000
"""Spans, and as many log records, that one answer may hold."""
_SCAN = 10 * MAX_SPANS
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
    more for `trace_search.GAP` before it; `Trace.searched_from` tells how far that was.

    Args:
        start, end: only spans that started, and log records of, at or after the one and before the other.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`; the second also when nothing was found in the time.
    """
    search = TraceSearch(trace_id, start, end, limit=MAX_SPANS, max_bytes=MAX_BYTES, scan=_SCAN)

    async def read_resources(reader: Reader) -> list[Any]:
        rows = search.rows
        if not rows:
            return []
        return await reader.fetch(
            _STATEMENTS["resources"],
            tenants=sorted({row["tenant_id"] for row in rows}),
            ids=sorted({row["resource_id"] for row in rows} - {None}),
            max_bytes=MAX_BYTES,
        )

    resources = await search.run(pool, now, then=read_resources)
    if not search.rows:
        return None
    # A large trace takes longer than the event loop may stand still.
    return await asyncio.to_thread(_assembled, trace_id, search, resources)


def _assembled(trace_id: UUID, found: TraceSearch, resources: list[Any]) -> Trace:
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
