"""Partitions of the future that were made for a smaller volume give way to shorter ones.

One whose time has not come holds nothing, or the few rows of clocks that run ahead. It is detached and dropped in one
transaction that waits for its lock only briefly; a partition that is open already cannot be divided.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import asyncpg

from ares_otel.storage.partitions.attach import LOCK, attach
from ares_otel.storage.partitions.catalog import Partition, quoted, time_column
from ares_otel.storage.partitions.lengths import aligned, name_for

MARGIN = timedelta(minutes=2)
"""A partition that begins sooner is left alone: its time comes while it is being exchanged."""
LOCK_MS = 200
"""How long the exchange may wait for its locks, and so hold up those behind it."""
MOVED_ROWS, MOVED_RANGES = 10_000, 50
"""Rows, and partitions that they need, which are moved at most."""
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)

log = logging.getLogger("ares_otel.storage")


class _Stays(Exception):
    """It holds too much to be exchanged."""


async def shorten(
    connection: asyncpg.Connection, partitions: Sequence[Partition], lengths: Mapping[str, timedelta], now: datetime
) -> list[Partition]:
    """Takes partitions away whose time has not come and that are longer than the length that their table has now.
    Returns those that are left; what is missing then is made by the caller.

    What others hold locked is left to the next run. Raises asyncpg.PostgresError.
    """
    left = []
    gone = []
    for partition in partitions:
        length = lengths[partition.table]
        if partition.start <= now + MARGIN or partition.end - partition.start <= length:
            left.append(partition)
            continue
        try:
            made = await _exchange(connection, partition, length)
        except _BUSY as error:
            log.debug("%s is to be divided, and is in use: %s", partition.name, error)
            left.append(partition)
        except _Stays:
            log.debug("%s holds rows already, and keeps its length.", partition.name)
            left.append(partition)
        else:
            gone.append(partition.name)
            left += made
    if gone:
        log.info("%d partitions give way to shorter ones, for more arrives now: %s.", len(gone), ", ".join(gone[:8]))
    return left


async def _exchange(connection: asyncpg.Connection, partition: Partition, length: timedelta) -> list[Partition]:
    """Drops one, and makes those shorter ones that its rows need. Raises _Stays and asyncpg.PostgresError."""
    table, name = partition.table, quoted(partition.name)
    time = time_column(table)
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if not await connection.fetchval("SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", name):
            return []  # another process was faster
        await connection.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
        rows = await connection.fetch(f"SELECT {time} AS time FROM {name} LIMIT {MOVED_ROWS + 1}")  # noqa: S608
        starts = sorted({aligned(row["time"], length) for row in rows})
        if len(rows) > MOVED_ROWS or len(starts) > MOVED_RANGES:
            raise _Stays
        made = [Partition(table, start, start + length, name_for(table, start, length)) for start in starts]
        for new in made:
            await attach(connection, table, new.name, new.start, new.end)
        if made:
            columns = ", ".join(await _columns(connection, table))
            await connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {name}")  # noqa: S608
        await connection.execute(f"DROP TABLE {name}")
        await connection.execute("DELETE FROM partition_jobs WHERE partition_name = $1", partition.name)
    return made


async def _columns(connection: asyncpg.Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' ORDER BY attnum",
        table,
    )
    return [quoted(row["attname"]) for row in rows]
