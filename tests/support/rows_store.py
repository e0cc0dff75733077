"""Encoded rows into a real database, with nothing between: binary COPY, definitions first."""

from __future__ import annotations

import io

import asyncpg

from ares_otel.storage.definitions import DefinitionStore
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encoded import EncodedBatch


async def store(connection: asyncpg.Connection, encoded: EncodedBatch) -> None:
    """Stores a batch. Raises asyncpg.PostgresError when the database does not take it."""
    await DefinitionStore().store(connection, [encoded])
    for table, rows in encoded.tables.items():
        source = io.BytesIO(COPY_HEADER + rows.data + COPY_TRAILER)
        await connection.copy_to_table(table, source=source, format="binary", columns=COPY_COLUMNS[table])
