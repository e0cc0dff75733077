"""Minutes become hours after two days, and roll-ups leave with the retention of their signal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.pruning import Pruner
from ares_otel.storage.rollups import logs, spans
from ares_otel.storage.rollups.columns import columns_of
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.rows.encoded import LOGS, SPANS

MINUTES = timedelta(days=2)
"""How long minutes stay minutes."""
MOST_HOURS = 100
"""Pairs of hour and service that one round merges: each is a transaction of its own."""

_HOURS = """
SELECT DISTINCT date_trunc('hour', minute, 'UTC') AS hour, service_name
FROM {table} WHERE minutes = 1 AND minute < date_trunc('hour', now() - $1::interval, 'UTC')
ORDER BY 1, 2 LIMIT $2
"""
_TAKE = """
DELETE FROM {table} WHERE minute >= $1 AND minute < $1 + interval '1 hour' AND service_name = $2 RETURNING {columns}
"""
_TAKE_SPANS = _TAKE.format(
    table="span_rollups",
    columns="tenant_id, service_name, operation_name, kind, calls, errors, duration_ns_sum, duration_ns_max, "
    "array_send(buckets) AS buckets, array_send(counts) AS counts",
)
_TAKE_LOGS = _TAKE.format(
    table="log_rollups",
    columns="tenant_id, service_name, debug, info, warn, error, array_send(trace_hashes) AS trace_hashes, threshold",
)
_MAP = """
WITH gone AS (
    DELETE FROM {table}
    WHERE minutes = 1 AND minute < date_trunc('hour', now() - $1::interval, 'UTC')
    RETURNING *
)
INSERT INTO {table} AS r (minute, minutes, tenant_id, {names}, calls, errors, duration_ns_sum)
SELECT date_trunc('hour', minute, 'UTC'), 60, tenant_id, {names}, sum(calls), sum(errors), sum(duration_ns_sum)
FROM gone
GROUP BY 1, tenant_id, {names}
ON CONFLICT (minute, minutes, tenant_id, {names}) DO UPDATE
SET calls = r.calls + excluded.calls, errors = r.errors + excluded.errors,
    duration_ns_sum = r.duration_ns_sum + excluded.duration_ns_sum
"""
_NAMES = {
    "service_edges": "parent_service, child_service, child_type, connection_type, destination",
    "service_nodes": "service_name",
}
_EDGE_MINUTES = "DELETE FROM {table} WHERE minute < now() - $1::interval"
_OLD = "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {time} < $1 LIMIT $2))"
_OLD_OF_SERVICE = (
    "DELETE FROM {table} WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM {table} WHERE {time} < $1 AND service_name = $2 LIMIT $3))"
)
_TIME = {
    "span_rollups": "minute",
    "log_rollups": "minute",
    "service_edges": "minute",
    "service_nodes": "minute",
    "service_operations": "last_seen",
}
_SIGNAL = dict.fromkeys(_TIME, SPANS) | {"log_rollups": LOGS}


async def merge_hours(connection: asyncpg.Connection) -> int:
    """Merges the minutes of what is older than `MINUTES` into hours; returns how many hours of a service."""
    merged = 0
    for table, merge in (("span_rollups", _spans_of_hour), ("log_rollups", _logs_of_hour)):
        for row in await connection.fetch(_HOURS.format(table=table), MINUTES, MOST_HOURS):
            async with transaction(connection):
                await merge(connection, row["hour"], row["service_name"])
            merged += 1
    async with transaction(connection):
        for table, names in _NAMES.items():
            await connection.execute(_MAP.format(table=table, names=names), MINUTES)
        for table in ("service_edge_minutes", "service_edge_arrivals"):
            await connection.execute(_EDGE_MINUTES.format(table=table), MINUTES)
    return merged


async def _spans_of_hour(connection: asyncpg.Connection, hour: datetime, service: str) -> None:
    rows = await connection.fetch(_TAKE_SPANS, hour, service)
    if rows:
        await connection.execute(spans.WRITE_MINUTE, *await asyncio.to_thread(_span_hour, hour, rows))


async def _logs_of_hour(connection: asyncpg.Connection, hour: datetime, service: str) -> None:
    rows = await connection.fetch(_TAKE_LOGS, hour, service)
    if rows:
        await connection.execute(logs.WRITE_MINUTE, *await asyncio.to_thread(_log_hour, hour, rows))


def _span_hour(hour: datetime, rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    sums: dict[tuple[int, str, str, str], spans.Calls] = {}
    for row in rows:
        key = (row["tenant_id"], row["service_name"], row["operation_name"], row["kind"])
        sums.setdefault(key, spans.Calls()).add(row)
    return columns_of((hour, 60, *key, *calls.columns()) for key, calls in sums.items())


def _log_hour(hour: datetime, rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    sums: dict[tuple[int, str], logs.Records] = {}
    for row in rows:
        sums.setdefault((row["tenant_id"], row["service_name"]), logs.Records()).add(row)
    return columns_of((hour, 60, *key, *records.columns()) for key, records in sums.items())


async def drop_old(connection: asyncpg.Connection, settings: RetentionSettings, now: datetime) -> dict[str, int]:
    """Removes what is older than its signal is kept, in small batches; returns rows by table.

    Args:
        now: what ages are reckoned from, where the database's clock is not behind it.
    """
    now = min(now, await connection.fetchval("SELECT now()"))
    pruner = Pruner(connection)
    deleted = {}
    for table, time in _TIME.items():
        kept = settings.kept(_SIGNAL[table])
        count = 0
        if kept is not None:
            count = await pruner.delete(_OLD.format(table=table, time=time), now - kept)
        if table != "service_edges":
            for service, days in settings.service_days.items():
                statement = _OLD_OF_SERVICE.format(table=table, time=time)
                count += await pruner.delete(statement, now - timedelta(days=days), service)
        deleted[table] = count
    return deleted
