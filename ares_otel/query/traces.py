"""One trace: its spans as a tree, its logs, and what they say together."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import to_micros
from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rows import Json, LogRow, SpanRow, rows_of, was_cut
from ares_otel.query.statements import load_statements
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


def parse_trace_id(text: str) -> UUID:
    """Reads a trace id: 32 hex digits, the same with a UUID's dashes, or the 16 to 31 of a shorter id.

    Raises:
        ValueError: it is none. The message is a sentence without a subject.
    """
    lowered = text.lower() if len(text) <= 36 else ""
    if not _HEX.fullmatch(lowered):
        raise ValueError("must be a trace id: 32 hex digits, with or without dashes (an id of 64 bits has 16)")
    return UUID(hex=lowered.replace("-", "").zfill(32))


async def find_trace(pool: asyncpg.Pool, trace_id: UUID) -> Trace | None:
    """The trace, or None where neither a span nor a log record has this id.

    At most `MAX_SPANS` spans (the earliest) and as many logs, fewer where they are so large that they pass
    `reader.MAX_BYTES`.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    bounds = {"trace_id": trace_id, "scan": _SCAN, "limit": MAX_SPANS + 1, "max_bytes": MAX_BYTES}
    async with reading(pool) as reader:
        spans = await reader.fetch(_STATEMENTS["trace_spans"], **bounds)
        logs = await reader.fetch(_STATEMENTS["trace_logs"], **bounds)
        if not spans and not logs:
            return None
        rows = [*spans[:MAX_SPANS], *logs[:MAX_SPANS]]
        ids = {row["resource_id"] for row in rows} - {None}
        resources = await reader.fetch(
            _STATEMENTS["resources"],
            tenants=sorted({row["tenant_id"] for row in rows}),
            ids=sorted(ids),
            max_bytes=MAX_BYTES,
        )
    # A large trace takes longer than the event loop may stand still.
    return await asyncio.to_thread(_assembled, trace_id, spans, logs, resources)


def _assembled(trace_id: UUID, spans: list[Any], logs: list[Any], resources: list[Any]) -> Trace:
    rows = rows_of(SpanRow, spans[:MAX_SPANS])
    log_rows = rows_of(LogRow, logs[:MAX_SPANS])
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
        truncated=was_cut(spans, MAX_SPANS) or was_cut(logs, MAX_SPANS),
    )


def start_unix_nano(row: SpanRow) -> int:
    """The span's start as its sender gave it, also where the row is filed under its receive time."""
    if row.original_time_unix_nano is not None:
        return int(row.original_time_unix_nano)
    return to_micros(row.start_time) * 1000 + row.start_ns
