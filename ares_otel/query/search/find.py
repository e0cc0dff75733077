"""Which traces match."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.search.query import TraceQuery


@dataclass(slots=True)
class FoundTrace:
    """A trace, and where its matching spans lie."""

    trace_id: UUID
    start: Instant
    """The earliest start of the matching spans that were looked at: a hint for reading."""
    end: Instant
    """Just after the latest start."""


class FoundTraces(list[FoundTrace]):
    """Traces, most recent first."""

    complete: bool = True
    """False when the time was over before everything was looked at."""


async def find_traces(pool: asyncpg.Pool, query: TraceQuery, *, now: datetime | None = None) -> FoundTraces:
    """The traces that match, the one with the newest matching span first, at most `query.limit`.

    Raises:
        Refused: the query cannot be served.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    raise NotImplementedError
