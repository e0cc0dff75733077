"""Everything that is stored of the service `orders`, for a comparison column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import asyncpg

from tests.support.eventually import eventually
from tests.support.rollups import run_once

_ARRIVED = {"received_at", "id"}
"""Columns that tell when and in which order rows came. Everything else is what was sent."""
_DEFINED = {table: {"first_seen", "last_seen"} for table in ("metric_series", "otel_resources", "otel_scopes")}
"""The same of definitions."""
_OURS = "WHERE service_name = 'orders'"
_SERIES = f"WHERE series_id IN (SELECT series_id FROM metric_series {_OURS})"
_SCOPES = (
    "WHERE scope_id IN ("
    + " UNION ".join(
        f"SELECT scope_id FROM {table} {_OURS}" for table in ("service_spans", "service_logs", "metric_series")
    )
    + ")"
)

TABLES = {
    "service_spans": _OURS,
    "service_logs": _OURS,
    "service_metrics": _OURS,
    "metric_series": _OURS,
    "metric_samples": _SERIES,
    "metric_distributions": _SERIES,
    "otel_resources": _OURS,
    "otel_scopes": _SCOPES,
    "span_rollups": _OURS,
    "log_rollups": _OURS,
    "service_operations": _OURS,
    "operations_last_hour": _OURS,
    "logs_last_hour": _OURS,
    "v_spans": _OURS,
    "v_logs": _OURS,
    "v_service_performance": _OURS,
}
Rows = Mapping[str, Counter[tuple[tuple[str, str], ...]]]
"""By table: each row as names of columns and values, and how often it is there."""


async def merged_rows(url: str) -> Rows:
    """The same where nobody merges roll-ups."""
    assert await run_once(partial(asyncpg.connect, url))
    return await rows(url)


async def rows(url: str) -> Rows:
    """The rows, once the job on roll-ups has merged what waited."""
    connection = await asyncpg.connect(url)

    async def merged() -> bool:
        tables = ("span_rollup_increments", "log_rollup_increments")
        return not sum([await connection.fetchval(f"SELECT count(*) FROM {table} {_OURS}") for table in tables])

    try:
        await eventually(merged, every=0.05)
        found = {table: await connection.fetch(f"SELECT * FROM {table} {where}") for table, where in TABLES.items()}
    finally:
        await connection.close()
    return {
        table: Counter(_row(row, _ARRIVED | _DEFINED.get(table, set())) for row in rows)
        for table, rows in found.items()
    }


def _row(row: asyncpg.Record, without: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, repr(value)) for name, value in row.items() if name not in without)
