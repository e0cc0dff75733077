"""The columns of an archive: those of the partition, and those of the definitions that its rows refer to, so that the
file is usable alone."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from ares_otel.storage.definitions import COLUMNS
from ares_otel.storage.partitions.catalog import has_service_name, quoted
from ares_otel.storage.rows.encoded import PACKS, RESOURCES, SCOPES, SERIES

_SAMPLES_VIEW = "v_metric_samples"
_HEX = {"span_id", "parent_span_id"}
"""bytea that people know as hex; other bytea stays bytes."""
# PostgreSQL type → (SQL of the value, type in the file). What is not here becomes text.
_KINDS = {
    "smallint": ("{}", "int16"),
    "integer": ("{}", "int32"),
    "bigint": ("{}", "int64"),
    "double precision": ("{}", "double"),
    "boolean": ("{}", "boolean"),
    "text": ("{}", "string"),
    "bytea": ("{}", "binary"),
    "jsonb": ("{}::text", "string"),
    "uuid": ("replace({}::text, '-', '')", "string"),
    "timestamp with time zone": ("{}", "timestamp"),
    "numeric(20,0)": ("{}", "decimal"),
    "double precision[]": ("{}", "double list"),
    "bigint[]": ("{}", "int64 list"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file."""

    name: str
    kind: str
    """Its type: a key of the table in `parquet`."""
    sql: str
    """Where its value comes from."""


def _column(name: str, alias: str, column: str, sql_type: str) -> Column:
    place = f"{alias}.{quoted(column)}"
    if sql_type == "bytea" and column in _HEX:
        return Column(name, "string", f"encode({place}, 'hex')")
    template, kind = _KINDS.get(sql_type, ("{}::text", "string"))
    return Column(name, kind, template.format(place))


async def archive_columns(connection: asyncpg.Connection, table: str, partition: str) -> tuple[list[Column], str]:
    """The columns, in the order of the table (partitions have their own), and the FROM clause that they come from.
    Packs are archived as the samples that they hold.

    Raises asyncpg.PostgresError.
    """
    unpacked = await _unpacked(connection, partition) if table == PACKS else None
    rows = await connection.fetch(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a
        LEFT JOIN pg_attribute p ON p.attrelid = to_regclass($2) AND p.attname = a.attname AND NOT p.attisdropped
        WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY p.attnum, a.attnum
        """,
        quoted(partition) if unpacked is None else _SAMPLES_VIEW,
        quoted(table) if unpacked is None else _SAMPLES_VIEW,
    )
    columns = [_column(row["attname"], "t", row["attname"], row["type"]) for row in rows]
    source = f"FROM {quoted(partition) if unpacked is None else unpacked} t"
    refers = "t"
    if not has_service_name(table):
        refers = "m"
        source += f" LEFT JOIN {SERIES} m ON m.tenant_id = t.tenant_id AND m.series_id = t.series_id"
        columns += [_column(name, "m", name, kind) for name, kind in COLUMNS[SERIES]]
    for alias, definitions, key, prefix in (
        ("r", RESOURCES, "resource_id", "resource_"),
        ("c", SCOPES, "scope_id", "scope_"),
    ):
        source += (
            f" LEFT JOIN {definitions} {alias} ON {alias}.tenant_id = t.tenant_id AND {alias}.{key} = {refers}.{key}"
        )
        columns += [_column(prefix + name, alias, name, kind) for name, kind in COLUMNS[definitions]]
    return columns, source


async def _unpacked(connection: asyncpg.Connection, partition: str) -> str:
    """What stands for a partition of packs in a FROM clause. It may be detached, and its rows are no rows of its former
    parent then: they are made such."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        PACKS,
    )
    fields = ", ".join(f"k.{quoted(row['attname'])}" for row in rows)
    return (
        "(SELECT k.tenant_id, k.series_id, s.*, NULL::bigint AS flags, NULL::bytea AS point_raw, "  # noqa: S608 - quoted
        f"NULL::numeric(20, 0) AS original_time_unix_nano FROM {quoted(partition)} k "
        f"CROSS JOIN LATERAL unpacked(ROW({fields})::{PACKS}) s)"
    )
