"""New partitions ahead of time.

A new partition is made by `CREATE TABLE (LIKE …)` and `ATTACH`, which do not wait for open inserts. There is no DEFAULT
partition: rows outside the window of the existing ones are filed under their receive time by the encoder.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.partitions.catalog import list_partitions, quoted, read_floors, to_datetime
from ares_otel.storage.rows.encoded import PARTITIONED

LENGTH = timedelta(days=1)
PAST = 2
"""Partitions kept ready before today's, for late senders and skewed clocks."""
AHEAD = 3
"""Partitions kept ready after today's: a job that does not run for three days loses nothing."""

_LOCK = 0x41726573_50617274  # "AresPart": one process makes partitions at a time
_BEGIN = "SET LOCAL lock_timeout = '10s'"


async def ensure_partitions(connection: asyncpg.Connection, clock: Clock = SYSTEM_CLOCK) -> list[str]:
    """Makes the partitions that are missing around now, one short transaction each, and returns their names.

    What retention dropped is not made again, unless the clock went back to it: there is always one for now.
    Safe in several processes at once. Raises asyncpg.PostgresError; what was made before stays.
    """
    now = to_datetime(clock.time_ns())
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = [
        (table, today + number * LENGTH, today + (number + 1) * LENGTH)
        for table in PARTITIONED
        for number in range(-PAST, AHEAD + 1)
    ]
    existing = await list_partitions(connection)
    made = []
    for table, start, end in wanted:
        if not any(p.table == table and p.start < end and start < p.end for p in existing):
            name = f"{table}_{start:%Y%m%d}"
            if await _make(connection, table, name, start, end, closed=end <= now):
                made.append(name)
    return made


async def _make(
    connection: asyncpg.Connection, table: str, name: str, start: datetime, end: datetime, *, closed: bool
) -> bool:
    """Makes and attaches one partition; False when it is there, or has left."""
    async with connection.transaction():
        await connection.execute(_BEGIN)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await connection.fetchval("SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", name):
            return False  # another process was faster
        if closed and start < (await read_floors(connection)).get(table, start):
            return False
        # A table of that name that is no partition was detached by somebody; with its rows it goes back.
        await attach(connection, table, name, start, end)
    return True


async def attach(connection: asyncpg.Connection, table: str, name: str, start: datetime, end: datetime) -> None:
    """Makes the table when it does not exist and makes it a partition, in the caller's transaction.

    Raises asyncpg.PostgresError.
    """
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {quoted(name)} "
        f"(LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
    )
    await connection.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {quoted(name)} "
        f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    )
