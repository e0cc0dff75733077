"""Detaching and dropping partitions without blocking anybody: every wait is bounded, and what could not be had is left
to the next run.

`DETACH … CONCURRENTLY` lets inserts and reads go on. It works in two steps; one that was broken off between them leaves
the partition in a state that blocks the next detach, until `FINALIZE` ends it.
"""

from __future__ import annotations

import asyncio

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.storage.partitions.catalog import Partition, quoted
from ares_otel.storage.pinned.keeping import keep_pinned
from ares_otel.storage.rows.encoded import KEPT

PATIENCE = 10.0
"""Seconds that a concurrent detach may wait for transactions that use the table."""
PLAIN_ATTEMPTS = 3
"""Tries of a plain detach, which blocks others while it waits, and so waits `PLAIN_LOCK_MS` only."""
PLAIN_LOCK_MS = 200
PLAIN_PAUSE = 0.5
DROP_LOCK_MS = 5_000
"""A drop waits for readers that began before the detach; nobody else can be behind it."""


class StillAttached(AresError):
    """The table is a partition still; it was not dropped."""


async def finish_detaches(connection: asyncpg.Connection, *, patience: float = PATIENCE) -> list[str]:
    """Ends detaches that were broken off between their two steps, and returns the names of the tables.

    Raises asyncpg.PostgresError or TimeoutError when a transaction from before the detach is still open.
    """
    rows = await connection.fetch(
        """
        SELECT p.relname AS table, c.relname AS name
        FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhdetachpending AND i.inhparent = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
        """,
        list(KEPT),
    )
    for row in rows:
        await connection.execute(
            f"ALTER TABLE {row['table']} DETACH PARTITION {quoted(row['name'])} FINALIZE", timeout=patience
        )
    return [row["name"] for row in rows]


async def detach(connection: asyncpg.Connection, partition: Partition, *, patience: float = PATIENCE) -> None:
    """Makes a partition a table of its own. Writers must have narrowed their windows before.

    Raises asyncpg.PostgresError or TimeoutError when others hold the tables too long: try again later, after
    `finish_detaches`.
    """
    statement = f"ALTER TABLE {partition.table} DETACH PARTITION {quoted(partition.name)}"
    try:
        # The client's clock bounds the wait: SET does not reach the right session behind a pooler, and SET LOCAL needs
        # a transaction, in which CONCURRENTLY is not allowed.
        await connection.execute(f"{statement} CONCURRENTLY", timeout=patience)
    except (asyncpg.FeatureNotSupportedError, asyncpg.ObjectNotInPrerequisiteStateError):
        # Citus has no such thing, and a DEFAULT partition that somebody made forbids it.
        await _detach_plainly(connection, statement)


async def _detach_plainly(connection: asyncpg.Connection, statement: str) -> None:
    for attempt in range(1, PLAIN_ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {PLAIN_LOCK_MS}")
                await connection.execute(statement)
            return
        except asyncpg.LockNotAvailableError:
            if attempt == PLAIN_ATTEMPTS:
                raise
            await asyncio.sleep(PLAIN_PAUSE)


async def drop_detached(connection: asyncpg.Connection, partition: Partition) -> int:
    """Drops a table that was detached, with what is remembered of it, and returns the bytes it had on disk. In the same
    transaction the last rows of pinned traces are copied out of it.

    Raises:
        StillAttached: it is a partition; nothing was changed.
        asyncpg.PostgresError, TimeoutError: nothing was changed; somebody may still read it, or pin a trace.
    """
    name = partition.name
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {DROP_LOCK_MS}")
        row = await connection.fetchrow(
            "SELECT relispartition, pg_total_relation_size(oid) AS bytes FROM pg_class WHERE oid = to_regclass($1)",
            quoted(name),
        )
        if row is not None and row["relispartition"]:
            raise StillAttached
        if row is not None:
            await keep_pinned(connection, partition, last=True)
        await connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
        await connection.execute("DELETE FROM partition_jobs WHERE partition_name = $1", name)
    return 0 if row is None else row["bytes"] or 0
