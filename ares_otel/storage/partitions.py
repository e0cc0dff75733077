"""Time partitions of the telemetry tables: which there are, and new ones ahead of time.

A new partition is made by `CREATE TABLE (LIKE …)` and `ATTACH`, which do not wait for open inserts. There is no DEFAULT
partition: rows outside the window of the existing ones are filed under their receive time by the encoder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.rows.encoded import PARTITIONED, Window, Windows

LENGTH = timedelta(days=1)
PAST = 2
"""Partitions kept ready before today's, for late senders and skewed clocks."""
AHEAD = 3
"""Partitions kept ready after today's: a job that does not run for three days loses nothing."""

_LOCK = 0x41726573_50617274  # "AresPart": one process makes partitions at a time
_BOUNDS = re.compile(r"FROM \('([^']+)'\) TO \('([^']+)'\)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One attached partition: `start <= time < end`."""

    table: str
    start: datetime
    end: datetime
    name: str


def to_ns(time: datetime) -> int:
    """Nanoseconds since 1970 of an aware datetime."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


async def list_partitions(connection: asyncpg.Connection) -> list[Partition]:
    """The attached partitions of all telemetry tables, by table and time."""
    async with connection.transaction():
        # Bounds are printed in the session's time zone; this one says UTC.
        await connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'")
        rows = await connection.fetch(
            """
            SELECT p.relname AS table, c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
            FROM pg_inherits i
            JOIN pg_class p ON p.oid = i.inhparent
            JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
              AND NOT i.inhdetachpending
            """,
            list(PARTITIONED),
        )
    found = []
    for row in rows:
        match = _BOUNDS.search(row["bounds"])
        if match is None:
            raise ValueError(f"Partition {row['name']} of {row['table']} is not a range: {row['bounds']}.")
        start, end = (datetime.fromisoformat(text).astimezone(UTC) for text in match.groups())
        found.append(Partition(row["table"], start, end, row["name"]))
    return sorted(found)


async def ensure_partitions(connection: asyncpg.Connection, clock: Clock = SYSTEM_CLOCK) -> list[str]:
    """Makes the partitions that are missing around now, one short transaction each, and returns their names.

    Safe in several processes at once. Raises asyncpg.PostgresError; what was made before stays.
    """
    today = _EPOCH + timedelta(days=clock.time_ns() // 86_400_000_000_000)
    wanted = [
        (table, today + number * LENGTH, today + (number + 1) * LENGTH)
        for table in PARTITIONED
        for number in range(-PAST, AHEAD + 1)
    ]
    existing = await list_partitions(connection)
    made = []
    for table, start, end in wanted:
        if any(p.table == table and p.start < end and start < p.end for p in existing):
            continue
        name = f"{table}_{start:%Y%m%d}"
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if await connection.fetchval("SELECT relispartition FROM pg_class WHERE oid = to_regclass($1)", name):
                continue  # another process was faster
            # A table of that name that is no partition was detached by somebody; with its rows it goes back.
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {name} "
                f"(LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
            )
            await connection.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {name} "
                f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )
        made.append(name)
    return made


async def read_windows(connection: asyncpg.Connection, clock: Clock = SYSTEM_CLOCK) -> Windows:
    """For each table the unbroken range of partitions around now. A table without a partition for now has an empty
    window; its rows cannot be stored until `ensure_partitions` ran."""
    now = clock.time_ns()
    windows = {}
    partitions = await list_partitions(connection)
    for table in PARTITIONED:
        ranges = [(to_ns(p.start), to_ns(p.end)) for p in partitions if p.table == table]
        start = end = now
        for low, high in ranges:
            if low <= now < high:
                start, end = low, high
        for low, high in ranges:  # sorted by time: grow upwards …
            if low == end:
                end = high
        for low, high in reversed(ranges):  # … and downwards
            if high == start:
                start = low
        windows[table] = Window(start, end)
    return windows
