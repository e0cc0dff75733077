"""Partitions hold the columns of their table in an order of their own, and nobody notices but the disk."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from ares_otel.storage.partitions.columns import archive_columns
from ares_otel.storage.rows.encoded import PARTITIONED
from tests.support.partitions import day, make_partition, name_of
from tests.support.stored_rows import insert_span

pytestmark = pytest.mark.every_server
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attlen, a.attalign::text AS align,
       a.attstorage::text AS storage, pg_get_expr(d.adbin, d.adrelid) AS default
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_OF_EACH = {"trace_id", "span_id", "operation_name", "start_time", "attributes", "received_at"}
"""Columns in which the spans of a test differ."""
_WIDTHS = {"d": 8, "i": 4, "s": 2, "c": 1}


@pytest.mark.parametrize("table", PARTITIONED)
async def test_a_new_partition_has_the_same_columns_without_gaps_between_those_of_fixed_width(
    sql: asyncpg.Connection, table: str
) -> None:
    parent, partition = await sql.fetch(_COLUMNS, table), await sql.fetch(_COLUMNS, name_of(table, 0))
    assert sorted(map(tuple, parent), key=str) == sorted(map(tuple, partition), key=str)
    assert parent != partition
    place = 0
    for column in (column for column in partition if column["attlen"] > 0 and column["attnotnull"]):
        assert place % _WIDTHS[column["align"]] == 0, f"a gap before {column['attname']}"
        place += column["attlen"]


async def test_partitions_of_the_old_order_and_of_the_new_one_are_one_table(sql: asyncpg.Connection) -> None:
    await sql.execute(
        f"CREATE TABLE {name_of('service_spans', 5)} (LIKE service_spans INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    await make_partition(sql, "service_spans", 5)  # what was made earlier is attached as it is
    await make_partition(sql, "service_spans", 6)
    orders = [[c["attname"] for c in await sql.fetch(_COLUMNS, name_of("service_spans", ago))] for ago in (5, 6)]
    assert orders[0] != orders[1]
    for number, days_ago in enumerate((5, 6)):
        await insert_span(
            sql, number, start_time=day(days_ago) + timedelta(hours=1), attributes={"n": number}, status="error"
        )
    copied = [list(row.values()) for row in await sql.fetch("SELECT * FROM service_spans ORDER BY span_id")]
    assert len(copied) == 2
    differ = {i for i, (one, other) in enumerate(zip(*copied, strict=True)) if one != other}
    names = [column["attname"] for column in await sql.fetch(_COLUMNS, "service_spans")]
    assert {names[i] for i in differ} <= _OF_EACH
    files = [await archive_columns(sql, "service_spans", name_of("service_spans", ago)) for ago in (5, 6)]
    assert [c.name for c in files[0][0]] == [c.name for c in files[1][0]]
    assert [c.name for c in files[1][0]][: len(names)] == names


async def test_what_somebody_added_to_a_table_is_in_its_new_partitions(sql: asyncpg.Connection) -> None:
    await sql.execute("ALTER TABLE service_spans ADD COLUMN team text DEFAULT 'nobody'")
    await make_partition(sql, "service_spans", 5, rows=1)
    assert await sql.fetchval("SELECT team FROM service_spans") == "nobody"
    await sql.execute("ALTER TABLE service_spans ADD CONSTRAINT sane CHECK (duration_ns >= 0)")
    await make_partition(sql, "service_spans", 6, rows=1)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 2
