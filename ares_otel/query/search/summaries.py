"""What found traces look like from afar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from ares_otel.query.search.query import TraceQuery


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
    """Of the earliest span without a parent; where there is none, of the earliest orphan."""
    root_operation: str
    start_unix_nano: int
    end_unix_nano: int
    span_count: int
    error_span_count: int
    orphan_span_count: int
    """Spans whose parent is not in the trace."""
    services: list[ServiceSpans]
    """By name."""


async def summarize_traces(pool: asyncpg.Pool, query: TraceQuery, *, now: datetime | None = None) -> list[TraceSummary]:
    """A summary of each trace that `find_traces` finds, in its order.

    Raises:
        Refused: the query cannot be served.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    raise NotImplementedError
