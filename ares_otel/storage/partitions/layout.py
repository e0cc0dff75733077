"""The order of columns in a new partition: the one that wastes no bytes.

PostgreSQL stores a row's columns in the order of the table, each at a multiple of its alignment, so that a bigint
behind a text costs up to seven bytes of nothing. A partition may have another order than its parent: reads go by name,
and COPY puts a row's values into place while it forms the row, which it does anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from ares_otel.storage.partitions.catalog import quoted

_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS filled, a.attlen AS bytes,
       a.attalign::text AS alignment, pg_get_expr(d.adbin, d.adrelid) AS default_sql,
       a.attgenerated::text = '' AND a.attidentity::text = '' AND a.attcollation = t.typcollation
       AND a.attstorage = t.typstorage AS plain
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_CHECKS = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'c')"
_ALIGNMENTS = "disc"
"""Of eight bytes, four, two, one: `pg_attribute.attalign`."""


async def definition(connection: asyncpg.Connection, table: str) -> str:
    """What stands in the parentheses of CREATE TABLE for a new partition of the table. Raises asyncpg.PostgresError.

    A table to which somebody added what is not repeated here (a generated column, a CHECK) keeps its order.
    """
    columns = await connection.fetch(_COLUMNS, table)
    if not all(column["plain"] for column in columns) or await connection.fetchval(_CHECKS, table):
        return f"LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE"
    return ", ".join(map(_column, packed(columns)))


def packed(columns: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Columns of fixed width first, the widest alignment first; those that may be NULL behind those that may not, for a
    NULL ends the stretch of the row in which a column's place is known beforehand."""
    return sorted(columns, key=lambda c: (c["bytes"] < 0, not c["filled"], _ALIGNMENTS.index(c["alignment"])))


def _column(column: asyncpg.Record) -> str:
    default = f" DEFAULT {column['default_sql']}" if column["default_sql"] else ""
    return f"{quoted(column['name'])} {column['type']}{default}{' NOT NULL' if column['filled'] else ''}"
