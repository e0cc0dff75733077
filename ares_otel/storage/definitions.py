"""The definition tables (resources, scopes, series): their columns, in the order in which encoders give the values, and
how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from ares_otel.storage.rows.encoded import DEFINITIONS, RESOURCES, SCOPES, SERIES, EncodedBatch

# table → (id column, ((column, PostgreSQL type), …)); the tenant stands before the id, first_seen and last_seen after.
# jsonb values are given as JSON text (str), bytea as bytes, absent values as None.
ID_COLUMN = {RESOURCES: "resource_id", SCOPES: "scope_id", SERIES: "series_id"}
COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    RESOURCES: (
        ("service_name", "text"),
        ("attributes", "jsonb"),
        ("attributes_raw", "bytea"),
        ("dropped_attributes_count", "bigint"),
        ("schema_url", "text"),
        ("entity_refs", "bytea"),
    ),
    SCOPES: (
        ("name", "text"),
        ("version", "text"),
        ("attributes", "jsonb"),
        ("attributes_raw", "bytea"),
        ("dropped_attributes_count", "bigint"),
        ("schema_url", "text"),
    ),
    SERIES: (
        ("service_name", "text"),
        ("metric_name", "text"),
        ("metric_type", "text"),
        ("unit", "text"),
        ("description", "text"),
        ("temporality", "text"),
        ("is_monotonic", "boolean"),
        ("labels", "jsonb"),
        ("attributes_raw", "bytea"),
        ("metadata", "jsonb"),
        ("metadata_raw", "bytea"),
        ("resource_id", "uuid"),
        ("scope_id", "uuid"),
    ),
}

_CHUNK = 2000
"""Rows of one INSERT: bounds its size in memory and the time it holds row locks."""
_LIMIT = 200_000
"""Ids remembered at most; beyond it all are forgotten, which costs repeated inserts and nothing else."""

Definitions = Mapping[str, Mapping[UUID, tuple[object, ...]]]


def _insert_sql(table: str) -> str:
    columns = COLUMNS[table]
    names = ", ".join(["tenant_id", ID_COLUMN[table], *(name for name, _ in columns)])
    types = ["integer", "uuid", *(kind for _, kind in columns)]
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
    return (
        f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - names of the table above
        f"ON CONFLICT (tenant_id, {ID_COLUMN[table]}) DO UPDATE SET last_seen = now() "
        f"WHERE {table}.last_seen < now() - interval '1 hour'"
    )


class DefinitionStore:
    """Writes definitions once per process and partition period, before the rows that refer to them."""

    def __init__(self) -> None:
        self._known: set[tuple[int, UUID]] = set()
        self._period = -1

    async def store(self, connection: asyncpg.Connection, batches: Sequence[EncodedBatch], period: int) -> None:
        """Inserts what this process has not inserted in this period, sorted, in transactions of their own.

        Args:
            period: number of the current partition period; a new one makes everything be written again, which moves
                `last_seen` forward.

        Raises asyncpg.PostgresError; then nothing is remembered and the next call tries again.
        """
        if period != self._period or len(self._known) > _LIMIT:
            self._known.clear()
            self._period = period
        for table in DEFINITIONS:
            missing: dict[tuple[int, UUID], tuple[object, ...]] = {}
            for batch in batches:
                for id_, values in batch.definitions.get(table, {}).items():
                    key = (batch.tenant_id, id_)
                    if key not in self._known:
                        missing[key] = values
            if missing:
                await self._insert(connection, table, missing)

    async def _insert(
        self, connection: asyncpg.Connection, table: str, missing: Mapping[tuple[int, UUID], tuple[object, ...]]
    ) -> None:
        ordered = sorted(missing)  # everybody locks in the same order, so nobody deadlocks
        sql = _insert_sql(table)
        for start in range(0, len(ordered), _CHUNK):
            part = ordered[start : start + _CHUNK]
            rows = [(tenant, id_, *missing[tenant, id_]) for tenant, id_ in part]
            await connection.execute(sql, *(list(column) for column in zip(*rows, strict=True)))
            self._known.update(part)
