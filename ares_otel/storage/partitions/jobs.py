"""The table `partition_jobs`: what the jobs remember about partitions, and which of those are still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions.catalog import Partition, to_ns
from ares_otel.storage.partitions.plan import Removal

_READ = """
SELECT j.*, c.oid IS NOT NULL AS exists, coalesce(c.relispartition, false) AS attached,
       coalesce(j.leaving_since <= now() - $1::interval, false) AS settled
FROM partition_jobs j
LEFT JOIN pg_class c ON c.oid = to_regclass(quote_ident(j.partition_name))
ORDER BY j.range_end, j.range_start, j.table_name
"""
_MARK = """
INSERT INTO partition_jobs (partition_name, table_name, range_start, range_end, leaving_since, leaving_reason)
VALUES ($1, $2, $3, $4, now(), $5)
ON CONFLICT (partition_name) DO UPDATE
SET leaving_since = coalesce(partition_jobs.leaving_since, now()), leaving_reason = excluded.leaving_reason
"""
_FLOOR = """
INSERT INTO partition_floors (table_name, not_before) VALUES ($1, $2)
ON CONFLICT (table_name) DO UPDATE SET not_before = excluded.not_before, moved_at = now()
WHERE partition_floors.not_before < excluded.not_before
"""
_REMEMBER = """
INSERT INTO partition_jobs (partition_name, table_name, range_start, range_end) VALUES ($1, $2, $3, $4)
ON CONFLICT (partition_name) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `partition_jobs`."""

    partition: Partition
    archive_id: UUID
    leaving_reason: str | None
    exists: bool
    """Whether there is a table of that name at all."""
    attached: bool
    """Whether it is a partition (also one whose detach is under way)."""
    settled: bool
    """Whether it leaves, and that was decided so long ago that all processes know."""
    ours: bool
    """Whether Ares began to detach it: what somebody else detached is not dropped."""
    archived_to: str | None
    archived_rows: int | None
    sealed_at: datetime | None
    sealed_with: int | None
    """Number of the set of search indexes."""
    failures: int
    failed_at: datetime | None


async def read_jobs(connection: asyncpg.Connection, settle: timedelta = timedelta(0)) -> list[Job]:
    """All rows, by time. `settle`: how long after a decision all processes know it."""
    rows = await connection.fetch(_READ, settle)
    return [
        Job(
            Partition(row["table_name"], row["range_start"], row["range_end"], row["partition_name"]),
            row["archive_id"],
            row["leaving_reason"] if row["leaving_since"] is not None else None,
            row["exists"],
            row["attached"],
            row["settled"],
            row["detach_began"] is not None,
            row["archived_to"],
            row["archived_rows"],
            row["sealed_at"],
            row["sealed_with"],
            row["failures"],
            row["failed_at"],
        )
        for row in rows
    ]


async def mark_leaving(connection: asyncpg.Connection, removals: Sequence[Removal]) -> dict[str, int]:
    """Records that partitions leave, and moves the floors of their tables, so that no process files rows there.

    Returns the floors that are meant: table → nanoseconds since 1970. Raises asyncpg.PostgresError.
    """
    floors: dict[str, datetime] = {}
    async with connection.transaction():
        for removal in removals:
            partition = removal.partition
            await connection.execute(
                _MARK, partition.name, partition.table, partition.start, partition.end, removal.reason
            )
            floors[partition.table] = max(partition.end, floors.get(partition.table, partition.end))
        for table in sorted(floors):
            await connection.execute(_FLOOR, table, floors[table])
    return {table: to_ns(floor) for table, floor in floors.items()}


async def keep_after_all(connection: asyncpg.Connection, partitions: Sequence[Partition]) -> None:
    """Takes the decision back for partitions that stay. Raises asyncpg.PostgresError."""
    async with connection.transaction():
        for partition in partitions:
            await connection.execute(
                "UPDATE partition_jobs SET leaving_since = NULL, leaving_reason = NULL, detach_began = NULL "
                "WHERE partition_name = $1",
                partition.name,
            )
            await connection.execute(
                "UPDATE partition_floors SET not_before = $2 WHERE table_name = $1 AND not_before > $2",
                partition.table,
                partition.start,
            )


async def begin_detach(connection: asyncpg.Connection, name: str) -> None:
    """Records that what detaches the partition is Ares. Raises asyncpg.PostgresError."""
    await connection.execute("UPDATE partition_jobs SET detach_began = now() WHERE partition_name = $1", name)


async def remember(connection: asyncpg.Connection, partition: Partition) -> None:
    """Makes sure that the partition has a row. Raises asyncpg.PostgresError."""
    await connection.execute(_REMEMBER, partition.name, partition.table, partition.start, partition.end)


async def record_failure(connection: asyncpg.Connection, partition: Partition, error: BaseException) -> None:
    """Counts a failed attempt on a partition. Raises asyncpg.PostgresError."""
    await remember(connection, partition)
    await connection.execute(
        "UPDATE partition_jobs SET failures = failures + 1, failed_at = now(), last_error = $2 "
        "WHERE partition_name = $1",
        partition.name,
        f"{type(error).__name__}: {error}".replace("\0", " ")[:1000],
    )


async def forget_gone(connection: asyncpg.Connection) -> None:
    """Removes the rows of tables that are no more, such as those that somebody dropped by hand."""
    await connection.execute("DELETE FROM partition_jobs WHERE to_regclass(quote_ident(partition_name)) IS NULL")
