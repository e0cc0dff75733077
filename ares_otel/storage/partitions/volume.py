"""How many rows arrive lately, and which length of partitions follows from it.

What the server counts by itself is read (`pg_stat_get_tuples_inserted`), no rows. Of several processes the one that
comes first after `MEASURE_SECONDS` measures for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from ares_otel.storage.partitions.catalog import Partition
from ares_otel.storage.partitions.lengths import DAY, LENGTHS, length_for
from ares_otel.storage.rows.encoded import PARTITIONED

MEASURE_SECONDS = 120.0
"""Time that a measurement spans at least: what arrives in a burst of seconds says nothing."""
HALF_LIFE = timedelta(hours=3)
"""A high rate is believed for some time after it is over: it may come back."""

_READ = "SELECT * FROM partition_volumes WHERE table_name = $1"
_COUNT = """
SELECT coalesce(sum(pg_stat_get_tuples_inserted(to_regclass(quote_ident(name)))), 0)::bigint AS inserted
FROM unnest($1::text[]) AS name
"""
_WRITE = """
INSERT INTO partition_volumes (table_name, partition_name, rows_inserted, rows_per_second, length_seconds, measured_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (table_name) DO UPDATE
SET partition_name = excluded.partition_name, rows_inserted = excluded.rows_inserted,
    rows_per_second = excluded.rows_per_second, length_seconds = excluded.length_seconds,
    measured_at = excluded.measured_at
WHERE partition_volumes.measured_at IS NOT DISTINCT FROM $7
"""


async def lengths_now(
    connection: asyncpg.Connection, partitions: Sequence[Partition], now: datetime
) -> dict[str, timedelta]:
    """For each table the length that new partitions are to have. Raises asyncpg.PostgresError."""
    return {
        table: await _length_now(connection, table, [p for p in partitions if p.table == table], now)
        for table in PARTITIONED
    }


async def _length_now(
    connection: asyncpg.Connection, table: str, partitions: Sequence[Partition], now: datetime
) -> timedelta:
    before = await connection.fetchrow(_READ, table)
    length = DAY if before is None else timedelta(seconds=before["length_seconds"])
    if length not in LENGTHS:
        length = DAY
    opened = next((p for p in partitions if p.start <= now < p.end), None)
    if opened is None:  # nobody was here for long: what is left of the rate decides
        if before is None or now <= before["measured_at"]:
            return length
        return length_for(_decayed(before["rows_per_second"], now - before["measured_at"]), length)
    measured_at: datetime | None = None if before is None else before["measured_at"]
    if before is None:
        seconds = max((now - opened.start).total_seconds(), MEASURE_SECONDS)
        inserted, rate = await _count(connection, [opened.name]), 0.0
        sample = inserted / seconds
    else:
        passed = now - before["measured_at"]
        if timedelta(0) <= passed < timedelta(seconds=MEASURE_SECONDS):
            return length
        inserted = await _count(connection, [opened.name])
        rate = before["rows_per_second"]
        if passed < timedelta(0):  # the clock went back: nothing can be said about that time
            sample = 0.0
        else:
            sample = await _since(connection, before, partitions, opened, inserted, now) / passed.total_seconds()
            rate = _decayed(rate, passed)
    rate = max(rate, sample)
    length = length_for(rate, length)
    seconds_long = round(length.total_seconds())
    await connection.execute(_WRITE, table, opened.name, inserted, rate, seconds_long, now, measured_at)
    return length


def _decayed(rate: float, passed: timedelta) -> float:
    return float(rate * 0.5 ** min(passed / HALF_LIFE, 1000.0))


async def _since(
    connection: asyncpg.Connection,
    before: asyncpg.Record,
    partitions: Sequence[Partition],
    opened: Partition,
    inserted: int,
    now: datetime,
) -> int:
    """Rows inserted since the last measurement into the partitions that were open since then."""
    if before["partition_name"] == opened.name:
        # Fewer than before: the server lost its statistics in a crash, and has counted anew since.
        return inserted - before["rows_inserted"] if inserted >= before["rows_inserted"] else inserted
    names = [p.name for p in partitions if p.end > before["measured_at"] and p.start <= now]
    total = await _count(connection, names)
    return total - before["rows_inserted"] if total >= before["rows_inserted"] else total


async def _count(connection: asyncpg.Connection, names: Sequence[str]) -> int:
    count: int = await connection.fetchval(_COUNT, list(names))
    return count
