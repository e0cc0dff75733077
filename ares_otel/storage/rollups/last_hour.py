"""The ready answers for the last hour: moved on every minute, by taking out the minutes that are over.

They hold the minutes from `rollup_state.last_hour_start` on: the last sixty whole minutes and the current one. When the
start is far from where it should be, because nobody moved it or a clock jumped, they are made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.storage.rollups import histogram, logs
from ares_otel.storage.rollups.columns import columns_of
from ares_otel.storage.rollups.logs import Hour, Service
from ares_otel.storage.rollups.spans import HOUR_ROWS, WRITE_HOUR, Calls, Operation

FAR = timedelta(minutes=10)
"""So many minutes are taken out; for more, making the hour anew costs less."""
PORTION = 2000
"""Rows that are read at once."""

_BOUNDS = """
SELECT last_hour_start AS old, date_trunc('minute', now(), 'UTC') - interval '1 hour' AS new FROM rollup_state
"""
_MOVE = "UPDATE rollup_state SET last_hour_start = $1"
_SPANS = """
SELECT tenant_id, service_name, operation_name, calls, errors, duration_ns_sum, duration_ns_max,
       array_send(buckets) AS buckets, array_send(counts) AS counts
FROM span_rollups WHERE minutes = 1 AND minute >= $1 AND minute < $2
"""
_LONGEST = """
SELECT r.tenant_id, r.service_name, r.operation_name, max(r.duration_ns_max) AS duration_ns_max
FROM span_rollups r
JOIN unnest($2::integer[], $3::text[], $4::text[]) AS k (tenant_id, service_name, operation_name)
    USING (tenant_id, service_name, operation_name)
WHERE r.minutes = 1 AND r.minute >= $1
GROUP BY r.tenant_id, r.service_name, r.operation_name
"""
_EMPTY = """
DELETE FROM operations_last_hour o
USING unnest($1::integer[], $2::text[], $3::text[]) AS k (tenant_id, service_name, operation_name)
WHERE o.tenant_id = k.tenant_id AND o.service_name = k.service_name AND o.operation_name = k.operation_name
"""
_EXPIRED_SERVICES = """
SELECT DISTINCT tenant_id, service_name FROM log_rollups WHERE minutes = 1 AND minute >= $1 AND minute < $2
"""
_LOGS = """
SELECT r.tenant_id, r.service_name, r.error, array_send(r.trace_hashes) AS trace_hashes, r.threshold
FROM log_rollups r
JOIN unnest($2::integer[], $3::text[]) AS k (tenant_id, service_name) USING (tenant_id, service_name)
WHERE r.minutes = 1 AND r.minute >= $1
"""
_EMPTY_LOGS = """
DELETE FROM logs_last_hour o USING unnest($1::integer[], $2::text[]) AS k (tenant_id, service_name)
WHERE o.tenant_id = k.tenant_id AND o.service_name = k.service_name
"""
_SERVICES = "SELECT DISTINCT tenant_id, service_name FROM log_rollups WHERE minutes = 1 AND minute >= $1"


async def move(connection: asyncpg.Connection) -> bool:
    """Moves the hour on, inside a transaction; False when it stands where it should."""
    bounds = await connection.fetchrow(_BOUNDS)
    old, new = bounds["old"], bounds["new"]
    if old == new:
        return False
    if old is None or not timedelta(0) < new - old <= FAR:
        await _make(connection, new)
    else:
        await _take_spans(connection, old, new)
        await _count_logs(connection, new, await connection.fetch(_EXPIRED_SERVICES, old, new))
    await connection.execute(_MOVE, new)
    return True


async def _take_spans(connection: asyncpg.Connection, old: datetime, new: datetime) -> None:
    expired = await connection.fetch(_SPANS, old, new)
    if not expired:
        return
    gone = await asyncio.to_thread(_sums, {}, expired)
    keys = columns_of(gone)
    known = await connection.fetch(HOUR_ROWS, *keys)
    longest = {_operation(row): row["duration_ns_max"] for row in await connection.fetch(_LONGEST, new, *keys)}
    written, empty = await asyncio.to_thread(_left, known, gone, longest)
    if written:
        await connection.execute(WRITE_HOUR, *written)
    if empty:
        await connection.execute(_EMPTY, *empty)


async def _make(connection: asyncpg.Connection, new: datetime) -> None:
    await connection.execute("DELETE FROM operations_last_hour; DELETE FROM logs_last_hour")
    operations: dict[Operation, Calls] = {}
    async for rows in _portions(connection, _SPANS.replace(" AND minute < $2", ""), new):
        await asyncio.to_thread(_sums, operations, rows)
    if operations:
        rows = await asyncio.to_thread(_rows, operations)
        await connection.execute(WRITE_HOUR, *rows)
    await _count_logs(connection, new, await connection.fetch(_SERVICES, new))


async def _count_logs(connection: asyncpg.Connection, new: datetime, services: Iterable[Mapping[str, Any]]) -> None:
    """Counts the log records of some services anew: from the union of sets nothing can be taken out."""
    keys = columns_of((row["tenant_id"], row["service_name"]) for row in services)
    if not keys:
        return
    sums: dict[Service, Hour] = {}
    async for rows in _portions(connection, _LOGS, new, *keys):
        for row in rows:
            sums.setdefault((row["tenant_id"], row["service_name"]), Hour()).add(row)
    if sums:
        await connection.execute(logs.WRITE_HOUR, *columns_of((*key, *hour.columns()) for key, hour in sums.items()))
    empty = columns_of(key for key in zip(*keys, strict=True) if key not in sums)
    if empty:
        await connection.execute(_EMPTY_LOGS, *empty)


async def _portions(connection: asyncpg.Connection, statement: str, *arguments: object) -> Any:
    """The rows of a statement, in lists that do not take much memory."""
    cursor = await connection.cursor(statement, *arguments)
    while rows := await cursor.fetch(PORTION):
        yield rows


def _operation(row: Mapping[str, Any]) -> Operation:
    return row["tenant_id"], row["service_name"], row["operation_name"]


def _sums(operations: dict[Operation, Calls], rows: Iterable[Mapping[str, Any]]) -> dict[Operation, Calls]:
    for row in rows:
        key = _operation(row)
        calls = operations.get(key)
        if calls is None:
            calls = operations[key] = Calls()
        calls.add(row)
    return operations


def _rows(operations: Mapping[Operation, Calls]) -> list[list[Any]]:
    return columns_of((*key, *calls.columns_with_percentiles()) for key, calls in operations.items())


def _left(
    known: Iterable[Mapping[str, Any]], gone: Mapping[Operation, Calls], longest: Mapping[Operation, int]
) -> tuple[list[list[Any]], list[list[Any]]]:
    """The columns to write, and the keys of operations that have no calls left."""
    kept: dict[Operation, Calls] = {}
    empty = []
    for row in known:
        key = _operation(row)
        over = gone[key]
        calls = Calls()
        calls.add(row)
        calls.calls -= over.calls
        calls.errors -= over.errors
        calls.duration_ns_sum -= over.duration_ns_sum
        calls.duration_ns_max = longest.get(key, 0)
        histogram.take(calls.cells, over.cells.keys(), over.cells.values())
        if calls.calls > 0 and calls.cells:
            kept[key] = calls
        else:
            empty.append(key)
    return _rows(kept), columns_of(empty)
