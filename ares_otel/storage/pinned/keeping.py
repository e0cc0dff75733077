"""What retention does for pinned traces: copies their rows out of a partition that leaves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions.catalog import Partition, quoted, time_column
from ares_otel.storage.pinned.tables import COLUMNS, COPIES, LOCK, MAX_ROWS
from ares_otel.storage.rows.encoded import SPANS

AT_ONCE = 200
"""Traces of one statement."""
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
    for tenant_id, some in _batches(pins):
        copied += await _copy(connection, partition, tenant_id, some)
        if last:
            await _count_left_out(connection, partition, tenant_id, [row["trace_id"] for row in some])
    return copied


def _batches(pins: Sequence[Any]) -> Iterator[tuple[int, list[Any]]]:
    for tenant_id in sorted({row["tenant_id"] for row in pins}):
        of_tenant = [row for row in pins if row["tenant_id"] == tenant_id]
        for place in range(0, len(of_tenant), AT_ONCE):
            yield tenant_id, of_tenant[place : place + AT_ONCE]


async def _copy(connection: asyncpg.Connection, partition: Partition, tenant_id: int, pins: Sequence[Any]) -> int:
    copies, time = COPIES[partition.table], time_column(partition.table)
    columns = ", ".join(map(quoted, COLUMNS[partition.table]))
    found = await connection.fetch(
        f"""
        WITH added AS (
            INSERT INTO {copies} ({columns})
            SELECT {columns}
            FROM (
                SELECT missing.*, row_number() OVER (PARTITION BY trace_id ORDER BY {time}) AS place
                FROM (
                    SELECT {columns}
                    FROM unnest($2::uuid[]) AS pin_id
                    CROSS JOIN LATERAL (
                        SELECT {columns} FROM {quoted(partition.name)} WHERE tenant_id = $1 AND trace_id = pin_id
                        ORDER BY {time} LIMIT $4
                    ) there
                    EXCEPT ALL
                    SELECT {columns} FROM {copies}
                    WHERE tenant_id = $1 AND trace_id = ANY ($2) AND {time} >= $5 AND {time} < $6
                ) missing
            ) numbered
            JOIN unnest($2::uuid[], $3::bigint[]) AS pin (pin_id, most) ON pin_id = trace_id AND place <= most
            RETURNING trace_id, {time} AS at, pg_column_size({copies}.*) AS size
        )
        SELECT trace_id, count(*) AS rows, sum(size)::bigint AS bytes, min(at) AS first, max(at) AS last
        FROM added GROUP BY trace_id
        """,  # noqa: S608 - our own names, and a quoted one
        tenant_id,
        [pin["trace_id"] for pin in pins],
        [max(0, MAX_ROWS - pin["rows"]) for pin in pins],
        MAX_ROWS,
        partition.start,
        partition.end,
        timeout=SECONDS,
    )
    counter = "spans" if partition.table == SPANS else "logs"
    await connection.executemany(
        f"""
        UPDATE pinned_traces
        SET {counter} = {counter} + $3, bytes = bytes + $4,
            first_time = least(first_time, $5), last_time = greatest(last_time, $6)
        WHERE trace_id = $2 AND tenant_id = $1
        """,  # noqa: S608 - our own names
        [(tenant_id, row["trace_id"], row["rows"], row["bytes"], row["first"], row["last"]) for row in found],
    )
    return sum(row["rows"] for row in found)


async def _count_left_out(
    connection: asyncpg.Connection, partition: Partition, tenant_id: int, ids: Sequence[UUID]
) -> None:
    copies, time = COPIES[partition.table], time_column(partition.table)
    rows = await connection.fetch(
        f"""
        SELECT * FROM (
            SELECT pin_id AS trace_id,
                   (SELECT count(*) FROM {quoted(partition.name)} WHERE tenant_id = $1 AND trace_id = pin_id)
                   - (SELECT count(*) FROM {copies}
                      WHERE tenant_id = $1 AND trace_id = pin_id AND {time} >= $3 AND {time} < $4) AS missing
            FROM unnest($2::uuid[]) AS pin_id
        ) counted
        WHERE missing > 0
        """,  # noqa: S608 - our own names, and a quoted one
        tenant_id,
        list(ids),
        partition.start,
        partition.end,
        timeout=SECONDS,
    )
    for row in rows:
        log.warning(
            "%d rows of the pinned trace %s leave with %s: more than %d rows of one trace are not kept.",
            row["missing"],
            row["trace_id"].hex,
            partition.name,
            MAX_ROWS,
        )
        await connection.execute(
            "UPDATE pinned_traces SET left_out = left_out + $3 WHERE trace_id = $2 AND tenant_id = $1",
            tenant_id,
            row["trace_id"],
            row["missing"],
        )
