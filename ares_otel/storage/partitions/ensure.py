"""New partitions ahead of time, of a length that follows the volume.

A new partition is made by `CREATE TABLE` and `ATTACH`, which do not wait for open inserts. There is no DEFAULT
partition: rows outside the window of the existing ones are filed under their receive time by the encoder.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.partitions.attach import LOCK, attach
from ares_otel.storage.partitions.catalog import list_partitions, read_floors, to_datetime
from ares_otel.storage.partitions.lengths import missing, name_for
from ares_otel.storage.partitions.shorten import shorten
from ares_otel.storage.partitions.volume import lengths_now
from ares_otel.storage.rows.encoded import PARTITIONED

_BEGIN = "SET LOCAL lock_timeout = '10s'"


async def ensure_partitions(connection: asyncpg.Connection, clock: Clock = SYSTEM_CLOCK) -> list[str]:
    """Makes the partitions that are missing around now, one short transaction each, and returns their names.

    Those ahead that are longer than the volume allows now give way to shorter ones. What retention dropped is not made
    again, unless the clock went back to it: there is always one for now. Safe in several processes at once. Raises
    asyncpg.PostgresError; what was made before stays.
    """
    now = to_datetime(clock.time_ns())
    existing = await list_partitions(connection)
    lengths = await lengths_now(connection, existing, now)
    existing = await shorten(connection, existing, lengths, now)
    made = []
    for table in PARTITIONED:
        taken = [(p.start, p.end) for p in existing if p.table == table]
        for start, length in missing(taken, now, lengths[table]):
            name = name_for(table, start, length)
            if await _make(connection, table, name, start, start + length, closed=start + length <= now):
                made.append(name)
    return made


async def _make(
    connection: asyncpg.Connection, table: str, name: str, start: datetime, end: datetime, *, closed: bool
) -> bool:
    """Makes and attaches one partition; False when it is there, or has left."""
    async with connection.transaction():
        await connection.execute(_BEGIN)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if await connection.fetchval("SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", name):
            return False  # another process was faster
        if closed and start < (await read_floors(connection)).get(table, start):
            return False
        # A table of that name that is no partition was detached by somebody; with its rows it goes back.
        await attach(connection, table, name, start, end)
    return True
