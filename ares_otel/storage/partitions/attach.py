"""Making one partition."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from ares_otel.storage.partitions.catalog import quoted
from ares_otel.storage.partitions.layout import definition

LOCK = 0x41726573_50617274  # "AresPart": one process makes partitions at a time


async def attach(connection: asyncpg.Connection, table: str, name: str, start: datetime, end: datetime) -> None:
    """Makes the table when it does not exist and makes it a partition, in the caller's transaction.

    Raises asyncpg.PostgresError.
    """
    await connection.execute(f"CREATE TABLE IF NOT EXISTS {quoted(name)} ({await definition(connection, table)})")
    await connection.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {quoted(name)} "
        f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    )
