"""The columns the encoders write are the columns the tables have."""

from __future__ import annotations

import asyncpg
import pytest

from ares_otel.model.batch import Batch
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.encoded import (
    DELTAS,
    DISTRIBUTIONS,
    INCREMENTS,
    LOG_ROLLUPS,
    LOGS,
    PARTITIONED,
    SAMPLES,
    SPAN_ROLLUPS,
    SPANS,
)
from tests.support.copy_rows import ENCODED_AS
from tests.support.encoders import encode_batch
from tests.support.otlp_samples import batch_of, logs_request, metrics_request, trace_request
from tests.support.rows_store import store

pytestmark = pytest.mark.usefixtures("encoder")


@pytest.mark.parametrize("table", [*PARTITIONED, *INCREMENTS])
async def test_every_encoded_column_exists_with_the_type_its_bytes_are_made_for(database_url: str, table: str) -> None:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    await connection.close()
    existing = {row["name"]: row["type"] for row in rows}
    assert {column: existing.get(column) for column in COPY_COLUMNS[table]} == {
        column: ENCODED_AS[column] for column in COPY_COLUMNS[table]
    }
    assert set(existing) - set(COPY_COLUMNS[table]) <= {"id"}


@pytest.mark.parametrize("table", [*PARTITIONED, *INCREMENTS])
async def test_every_column_that_must_have_a_value_is_encoded(database_url: str, table: str) -> None:
    connection = await asyncpg.connect(database_url)
    needed = await connection.fetch(
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef",
        table,
    )
    await connection.close()
    assert {row["attname"] for row in needed} <= set(COPY_COLUMNS[table])


@pytest.mark.parametrize(
    ("batch", "tables"),
    [
        (batch_of(trace_request(spans=5)), {SPANS: 5, SPAN_ROLLUPS: 1}),
        (batch_of(logs_request(records=4)), {LOGS: 4, LOG_ROLLUPS: 1}),
        (batch_of(metrics_request()), {SAMPLES: 5, DISTRIBUTIONS: 3, DELTAS: 1}),
    ],
    ids=["traces", "logs", "metrics"],
)
async def test_as_many_rows_are_stored_as_the_encoder_counts(
    database_url: str, batch: Batch, tables: dict[str, int]
) -> None:
    connection = await asyncpg.connect(database_url)
    encoded = encode_batch(batch, await read_windows(connection))
    assert {table: rows.count for table, rows in encoded.tables.items()} == tables
    await store(connection, encoded)
    for table, count in tables.items():
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == count
    await connection.close()
