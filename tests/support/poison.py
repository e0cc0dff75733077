"""A database that refuses some rows for what they hold, as a table with a constraint of its owner's does."""

from __future__ import annotations

import asyncpg

POISON = "poison"
"""Spans with this name are refused with SQLSTATE 23514 and the name of the constraint."""


async def refuse_poison(connection: asyncpg.Connection) -> None:
    """From now on the tables refuse what is called `POISON`: spans, log records, series."""
    await connection.execute(
        f"""
        ALTER TABLE service_spans ADD CONSTRAINT no_poison CHECK (operation_name <> '{POISON}');
        ALTER TABLE service_logs ADD CONSTRAINT no_poison CHECK (message <> '{POISON}');
        ALTER TABLE metric_series ADD CONSTRAINT no_poison CHECK (metric_name <> '{POISON}');
        """
    )


async def take_poison(connection: asyncpg.Connection) -> None:
    """The tables take it again."""
    for table in ("service_spans", "service_logs", "metric_series"):
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT no_poison")
