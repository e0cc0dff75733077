"""A database that refuses some rows for what they hold, as a table with a constraint of its owner's does."""

from __future__ import annotations

import contextlib

import asyncpg

POISON = "poison"
"""Spans with this name are refused with SQLSTATE 23514 and the name of the constraint."""


async def refuse_poison(connection: asyncpg.Connection) -> None:
    """From now on the tables refuse what is called `POISON`: spans, log records, series."""
    await _alter(
        connection,
        f"""
        ALTER TABLE service_spans ADD CONSTRAINT no_poison CHECK (operation_name <> '{POISON}');
        ALTER TABLE service_logs ADD CONSTRAINT no_poison CHECK (message <> '{POISON}');
        ALTER TABLE metric_series ADD CONSTRAINT no_poison CHECK (metric_name <> '{POISON}');
        """,
    )


async def take_poison(connection: asyncpg.Connection) -> None:
    """The tables take it again."""
    for table in ("service_spans", "service_logs", "metric_series"):
        await _alter(connection, f"ALTER TABLE {table} DROP CONSTRAINT no_poison")


async def _alter(connection: asyncpg.Connection, statements: str) -> None:
    """Alters tables, all or none; again when that loses a deadlock with the job that seals partitions."""
    while True:
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            await connection.execute(statements)
            return
