"""What retention does for pinned traces: copies their rows out of a partition that leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions.catalog import Partition, quoted, time_column
from ares_otel.storage.pinned.tables import COLUMNS, COPIES, FIGURES, LOCK, MAX_ROWS

SECONDS = 3600.0
"""Time for a statement; nobody waits for it but whoever pins a trace, and not for long."""
_UNHURRIED = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5s'"

log = logging.getLogger("ares_otel.storage.maintenance")


async def pinned_ids(connection: asyncpg.Connection) -> list[UUID]:
    """The ids of all pinned traces. Raises asyncpg.PostgresError."""
    return [row["trace_id"] for row in await connection.fetch("SELECT DISTINCT trace_id FROM pinned_traces")]


async def still_referred(connection: asyncpg.Connection, column: str, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the resources (`resource_id`) or scopes (`scope_id`) that rows of pinned traces refer to.

    Raises asyncpg.PostgresError.
    """
    found: set[UUID] = set()
    for copies in COPIES.values():
        rows = await connection.fetch(
            f"SELECT DISTINCT {column} AS id FROM {copies} WHERE {column} = ANY ($1)",  # noqa: S608 - our own names
            list(ids),
        )
        found.update(row["id"] for row in rows)
    return found


async def keep_pinned(connection: asyncpg.Connection, partition: Partition, *, last: bool) -> int:
    """Copies the rows of pinned traces that are in a partition, attached or not, and were not copied yet.

    Has to be called in a transaction, which then holds the lock of pinned traces. A row that is there twice is copied
    twice, and a second call copies nothing again.

    Args:
        last: whether the partition is dropped in this transaction: what was not copied is counted as left out.

    Returns the number of rows. Raises asyncpg.PostgresError or TimeoutError, also when somebody pins a trace just now.
    """
    if partition.table not in COPIES:
        return 0
    await connection.execute(_UNHURRIED)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    pins = await connection.fetch(
        "SELECT tenant_id, trace_id, spans + logs AS rows FROM pinned_traces ORDER BY tenant_id, trace_id"
    )
    copied = 0
    for pin in await _those_within(connection, partition, pins):
        copied += await _copy(connection, partition, pin)
        if last:
            await _count_left_out(connection, partition, pin)
    return copied


async def _those_within(connection: asyncpg.Connection, partition: Partition, pins: Sequence[Any]) -> list[Any]:
    """The pins whose traces have rows in the partition."""
    within: list[Any] = []
    for tenant_id in sorted({pin["tenant_id"] for pin in pins}):
        of_tenant = {pin["trace_id"]: pin for pin in pins if pin["tenant_id"] == tenant_id}
        rows = await connection.fetch(
            f"SELECT DISTINCT trace_id FROM {quoted(partition.name)} "  # noqa: S608 - quoted
            "WHERE tenant_id = $1 AND trace_id = ANY ($2)",
            tenant_id,
            list(of_tenant),
            timeout=SECONDS,
        )
        within += [of_tenant[row["trace_id"]] for row in rows]
    return within


async def _copy(connection: asyncpg.Connection, partition: Partition, pin: Any) -> int:
    """Copies what is missing of one trace, each row as often as it is there; the number of rows."""
    copies, time = COPIES[partition.table], time_column(partition.table)
    columns = ", ".join(map(quoted, COLUMNS[partition.table]))
    status: str = await connection.execute(
        f"""
        INSERT INTO {copies} ({columns})
        SELECT {columns}
        FROM (
            (SELECT {columns} FROM {quoted(partition.name)}
             WHERE tenant_id = $1 AND trace_id = $2 ORDER BY {time} LIMIT $5)
            EXCEPT ALL
            SELECT {columns} FROM {copies} WHERE tenant_id = $1 AND trace_id = $2 AND {time} >= $3 AND {time} < $4
        ) missing
        ORDER BY {time}
        LIMIT $6
        """,  # noqa: S608 - our own names, and a quoted one
        pin["tenant_id"],
        pin["trace_id"],
        partition.start,
        partition.end,
        MAX_ROWS,
        max(0, MAX_ROWS - pin["rows"]),
        timeout=SECONDS,
    )
    copied = int(status.rpartition(" ")[2])
    if copied:
        await connection.execute(FIGURES, pin["tenant_id"], pin["trace_id"], timeout=SECONDS)
    return copied


async def _count_left_out(connection: asyncpg.Connection, partition: Partition, pin: Any) -> None:
    copies, time = COPIES[partition.table], time_column(partition.table)
    missing = await connection.fetchval(
        f"""
        SELECT (SELECT count(*) FROM {quoted(partition.name)} WHERE tenant_id = $1 AND trace_id = $2)
               - (SELECT count(*) FROM {copies}
                  WHERE tenant_id = $1 AND trace_id = $2 AND {time} >= $3 AND {time} < $4)
        """,  # noqa: S608 - our own names, and a quoted one
        pin["tenant_id"],
        pin["trace_id"],
        partition.start,
        partition.end,
        timeout=SECONDS,
    )
    if missing > 0:
        log.warning(
            "%d rows of the pinned trace %s leave with %s: more than %d rows of one trace are not kept.",
            missing,
            pin["trace_id"].hex,
            partition.name,
            MAX_ROWS,
        )
        await connection.execute(
            "UPDATE pinned_traces SET left_out = left_out + $3 WHERE trace_id = $2 AND tenant_id = $1",
            pin["tenant_id"],
            pin["trace_id"],
            missing,
        )
