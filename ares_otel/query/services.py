"""The two views: who is well, and how fast is each operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import asyncpg

from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rows import HealthRow, OperationRow, Row, rows_of, was_cut
from ares_otel.query.statements import load_statements

_STATEMENTS = load_statements("services.sql")
MAX_ROWS = 10_000
"""Rows that one answer may hold."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """Rows, and whether there were more than an answer may hold."""

    rows: list[Row]
    truncated: bool


async def system_health(pool: asyncpg.Pool) -> Listing[HealthRow]:
    """`v_system_health` by name, at most `MAX_ROWS`. Raises DatabaseUnavailable, QueryTooSlow."""
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["health"], limit=MAX_ROWS + 1)
    return Listing(rows_of(HealthRow, records[:MAX_ROWS]), truncated=was_cut(records, MAX_ROWS))


async def service_performance(pool: asyncpg.Pool, service: str | None = None) -> Listing[OperationRow]:
    """`v_service_performance` of one service or of all, by service and most calls first, at most `MAX_ROWS`.

    Raises DatabaseUnavailable, QueryTooSlow.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(
            _STATEMENTS["performance"], service=service, limit=MAX_ROWS + 1, max_bytes=MAX_BYTES
        )
    return Listing(rows_of(OperationRow, records[:MAX_ROWS]), truncated=was_cut(records, MAX_ROWS))
