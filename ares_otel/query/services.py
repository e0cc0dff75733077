"""Who is well, and how fast is each operation: from roll-ups, or exactly from the two views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic

import asyncpg

from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rollups import MAX_ROWS, recent_health, recent_performance
from ares_otel.query.rows import HealthRow, OperationRow, Row, rows_of, was_cut
from ares_otel.query.statements import load_statements

_STATEMENTS = load_statements("services.sql")


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """Rows about the time from `since` to now, and whether there were more than an answer may hold."""

    rows: list[Row]
    truncated: bool
    since: datetime


async def system_health(pool: asyncpg.Pool, *, exact: bool = False) -> Listing[HealthRow]:
    """`v_system_health` by name, at most `MAX_ROWS`.

    Args:
        exact: asks the view. Else the answer is from roll-ups: about whole minutes, and the number of traces is an
            estimate for a service that has more than some hundred.

    Raises DatabaseUnavailable, QueryTooSlow, RollupsBehind.
    """
    if not exact:
        health = await recent_health(pool)
        return Listing(health.rows[:MAX_ROWS], len(health.rows) > MAX_ROWS, health.since)
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["health"], limit=MAX_ROWS + 1)
        since = (await reader.fetch(_STATEMENTS["hour_ago"]))[0]["since"]
    return Listing(rows_of(HealthRow, records[:MAX_ROWS]), was_cut(records, MAX_ROWS), since)


async def service_performance(
    pool: asyncpg.Pool, service: str | None = None, *, exact: bool = False
) -> Listing[OperationRow]:
    """`v_service_performance` of one service or of all, by service and most calls first, at most `MAX_ROWS`.

    Args:
        exact: asks the view. Else the answer is from roll-ups: about whole minutes, and percentiles are within 0.55 %.

    Raises DatabaseUnavailable, QueryTooSlow, RollupsBehind.
    """
    if not exact:
        performance = await recent_performance(pool, service)
        return Listing(performance.rows[:MAX_ROWS], len(performance.rows) > MAX_ROWS, performance.since)
    async with reading(pool) as reader:
        records = await reader.fetch(
            _STATEMENTS["performance"], service=service, limit=MAX_ROWS + 1, max_bytes=MAX_BYTES
        )
        since = (await reader.fetch(_STATEMENTS["hour_ago"]))[0]["since"]
    return Listing(rows_of(OperationRow, records[:MAX_ROWS]), was_cut(records, MAX_ROWS), since)
