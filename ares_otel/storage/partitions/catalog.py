"""Which partitions there are, as the server's catalogue tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.storage.rows.encoded import LOGS, PARTITIONED, SPANS

_LIST = r"""
SELECT *, ends[1]::timestamptz AS low, ends[2]::timestamptz AS high
FROM (
    SELECT p.relname AS "table", c.relname AS name, b.bounds,
           regexp_match(b.bounds, $r$FROM \('([^']+)'\) TO \('([^']+)'\)$r$) AS ends
    FROM pg_inherits i
    JOIN pg_class p ON p.oid = i.inhparent
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, 0) AS bounds) b
    WHERE i.inhparent = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
      AND NOT i.inhdetachpending
) found
ORDER BY "table" COLLATE "C", low, high, name COLLATE "C"
"""
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


def to_datetime(ns: int) -> datetime:
    """The aware datetime, to the microsecond, of nanoseconds since 1970."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def quoted(name: str) -> str:
    """A name as it stands in SQL: a partition that somebody attached by hand may have any."""
    return '"' + name.replace('"', '""') + '"'


def time_column(table: str) -> str:
    """The column by which a telemetry table is partitioned, as it stands in SQL."""
    return "start_time" if table == SPANS else '"timestamp"'


def has_service_name(table: str) -> bool:
    """Whether rows carry the sender's name themselves; samples have it in their series."""
    return table in (SPANS, LOGS)


async def list_partitions(connection: asyncpg.Connection, tables: Sequence[str] = PARTITIONED) -> list[Partition]:
    """The attached partitions of the tables that rows are filed into, or of those that are named, by table and time.

    Raises asyncpg.PostgresError, and ValueError for a partition that has no range with two ends.
    """
    # Bounds are printed, and read again, in the session's own time zone and style. They hold no columns, so the
    # relation is not named: naming it would wait for whoever has locked it.
    rows = await connection.fetch(_LIST, list(tables))
    found = []
    for row in rows:
        if row["low"] is None or row["high"] is None:
            if row["bounds"] in (None, "DEFAULT"):
                continue  # dropped between two looks; or somebody made a place for what has none
            raise ValueError(f"Partition {row['name']} of {row['table']} is not a range: {row['bounds']}.")
        found.append(Partition(row["table"], row["low"], row["high"], row["name"]))
    return found


async def read_sizes(connection: asyncpg.Connection, names: list[str]) -> dict[str, int]:
    """Bytes on disk by table name, with indexes and TOAST; a table that is gone is left out.

    Raises asyncpg.PostgresError, also when somebody holds one of the tables locked for two seconds.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '2s'")
        rows = await connection.fetch(
            """
            SELECT name, pg_total_relation_size(to_regclass(quote_ident(name))) AS bytes
            FROM unnest($1::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL
            """,
            names,
        )
    return {row["name"]: row["bytes"] for row in rows if row["bytes"] is not None}


async def read_floors(connection: asyncpg.Connection) -> dict[str, datetime]:
    """Table → where its kept telemetry begins; a table of which nothing was dropped yet is not in it."""
    rows = await connection.fetch("SELECT table_name, not_before FROM partition_floors")
    return {row["table_name"]: row["not_before"] for row in rows}
