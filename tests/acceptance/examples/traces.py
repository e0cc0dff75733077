"""Traces that a test begins, and what was stored of them."""

from __future__ import annotations

import asyncpg

PARENT = "00f067aa0ba902b7"


def traceparent(trace_id: str) -> str:
    """The header of a request in the trace, whose parent is a span of the test's."""
    return f"00-{trace_id}-{PARENT}-01"


async def spans_of(database: asyncpg.Connection, trace_id: str) -> list[asyncpg.Record]:
    return list(await database.fetch("SELECT * FROM v_spans WHERE trace_id = $1 ORDER BY start_time", trace_id))


async def logs_of(database: asyncpg.Connection, trace_id: str) -> list[asyncpg.Record]:
    return list(await database.fetch("SELECT * FROM v_logs WHERE trace_id = $1 ORDER BY timestamp", trace_id))
