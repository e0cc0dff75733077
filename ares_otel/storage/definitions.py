"""The definition tables (resources, scopes, series): their columns, in the order in which encoders give the values, and
how they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from ares_otel.storage.rows.encoded import DEFINITIONS, RESOURCES, SCOPES, SERIES, EncodedBatch
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.transaction import BEGIN

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
"""Rows of one INSERT: bounds the time it holds row locks."""
_CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes of one INSERT, but for its last row: a description of megabytes may stand in every series."""
_MANY = 500
"""Definitions from which on they are prepared in a thread: the event loop has others to serve."""
_LIMIT = 200_000
"""Resources and scopes remembered at most; beyond it all are forgotten, which costs repeated inserts, nothing else."""
_SERIES_LIMIT = 1_000_000
"""The same for series."""


def _insert_sql(table: str) -> str:
    columns = COLUMNS[table]
    names = ", ".join(["tenant_id", ID_COLUMN[table], *(name for name, _ in columns)])
    types = ["integer", "uuid", *(kind for _, kind in columns)]
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
    id_ = ID_COLUMN[table]
    # What is fresh is left out before: a conflict locks the row, until the end of a transaction that may be long.
    return (
        f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) AS given ({names}) "  # noqa: S608 - names above
        f"WHERE NOT EXISTS (SELECT FROM {table} there WHERE there.tenant_id = given.tenant_id "
        f"AND there.{id_} = given.{id_} AND there.last_seen >= now() - interval '1 hour') ORDER BY 1, 2 "
        f"ON CONFLICT (tenant_id, {id_}) DO UPDATE SET last_seen = now() "
        f"WHERE {table}.last_seen < now() - interval '1 hour'"
    )


_INSERT = {table: _insert_sql(table) for table in DEFINITIONS}
_Key = tuple[int, UUID]


class DefinitionStore:
    """Writes definitions once per process and partition period, before the rows that refer to them."""

    def __init__(self) -> None:
        self._known: set[_Key] = set()
        self._period = -1
        self.series: KnownSeries = active().known_series()
        """For the encoder: series that need no definition. Most requests have as many of them as points."""

    def forget(self) -> None:
        """Writes every definition again when it is next used: another server may stand behind the address now, one that
        lacks the last of them."""
        self._known.clear()
        self.series.forget()

    def begin(self, period: int) -> None:
        """To be called before a group is stored.

        Args:
            period: number of the current partition period; a new one makes everything be written again, which moves
                `last_seen` forward.
        """
        if period != self._period or len(self._known) > _LIMIT or len(self.series) > _SERIES_LIMIT:
            self.forget()
            self._period = period

    def holds(self, batch: EncodedBatch) -> bool:
        """Whether what the batch left out is still known."""
        return batch.relies_on is None or batch.relies_on == self.series.generation

    async def store(self, connection: asyncpg.Connection, batches: Sequence[EncodedBatch]) -> None:
        """Inserts what this process has not inserted in this period, sorted, in small transactions of their own.

        Raises asyncpg.PostgresError; what was inserted before stays and is remembered.
        """
        for table in DEFINITIONS:
            missing: dict[_Key, tuple[object, ...]] = {}
            for batch in batches:
                for id_, values in batch.definitions.get(table, {}).items():
                    key = (batch.tenant_id, id_)
                    known = id_.bytes in self.series if table == SERIES else key in self._known
                    if not known:
                        missing[key] = values
            if missing:
                many = len(missing) > _MANY
                chunks = await asyncio.to_thread(_chunks, missing) if many else _chunks(missing)
                for keys, columns in chunks:
                    generation = self.series.generation
                    await self._insert(connection, table, columns)
                    if generation != self.series.generation:
                        continue  # all was forgotten meanwhile, and this too may be on a server that is gone
                    if table == SERIES:
                        self.series.add([id_.bytes for _, id_ in keys])
                    else:
                        self._known.update(keys)

    async def store_inside(self, connection: asyncpg.Connection, batch: EncodedBatch) -> None:
        """Inserts a batch's definitions within the caller's transaction, which may still be rolled back: nothing is
        remembered. Raises asyncpg.PostgresError."""
        for table in DEFINITIONS:
            found = {(batch.tenant_id, id_): values for id_, values in batch.definitions.get(table, {}).items()}
            for _, columns in _chunks(found):
                await connection.execute(_INSERT[table], *columns)

    async def _insert(self, connection: asyncpg.Connection, table: str, columns: Sequence[list[object]]) -> None:
        await connection.execute(BEGIN)
        await connection.execute(_INSERT[table], *columns)
        await connection.execute("COMMIT")


def _chunks(missing: Mapping[_Key, tuple[object, ...]]) -> list[tuple[list[_Key], list[list[object]]]]:
    """The definitions as columns, sorted, in parts bounded by rows and bytes. Everybody inserts in the same order, so
    nobody deadlocks."""
    chunks: list[tuple[list[_Key], list[list[object]]]] = []
    keys: list[_Key] = []
    size = 0
    for key in sorted(missing):
        keys.append(key)
        size += sum(len(value) for value in missing[key] if isinstance(value, (str, bytes)))
        if len(keys) >= _CHUNK or size > _CHUNK_BYTES:
            chunks.append((keys, _columns(keys, missing)))
            keys, size = [], 0
    if keys:
        chunks.append((keys, _columns(keys, missing)))
    return chunks


def _columns(keys: Sequence[_Key], missing: Mapping[_Key, tuple[object, ...]]) -> list[list[object]]:
    return [
        list(column) for column in zip(*((tenant, id_, *missing[tenant, id_]) for tenant, id_ in keys), strict=True)
    ]
