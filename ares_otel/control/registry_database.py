"""The registry's way to the database: short transactions that give up rather than wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from ares_otel.query.reader import Reader, reading
from ares_otel.query.statements import parse_statements

LOCK_TIMEOUT = 2.0
"""Seconds that a statement waits for a row that somebody else is changing."""

STATEMENTS = parse_statements((Path(__file__).parent / "sql" / "registry.sql").read_text(encoding="utf-8"))


@asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncIterator[Reader]:
    """One transaction on a connection of the pool, with a lock time-out.

    Raises:
        DatabaseUnavailable: no connection, the server is away, or a lock was not to be had.
        QueryTooSlow: the server stopped a statement.
    """
    async with reading(pool) as connection, connection.transaction(lock_timeout=LOCK_TIMEOUT):
        yield connection
