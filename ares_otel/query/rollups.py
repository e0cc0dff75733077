"""Answers about the last hour from roll-ups: what is merged and ready, and what requests added since, in one snapshot.

The hour is made of minutes: the last sixty whole ones and the current one, and up to two more where the job that moves
the hour on is a little late.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic

import asyncpg

from ares_otel.query.reader import DatabaseUnavailable, reading
from ares_otel.query.rows import HealthRow, OperationRow, Row
from ares_otel.query.statements import load_statements
from ares_otel.storage.rollups.columns import int2_array, int8_array
from ares_otel.storage.rollups.histogram import Histogram, add, arrays, percentiles
from ares_otel.storage.rollups.sketch import Sketch

_STATEMENTS = load_statements("rollups.sql")
MAX_ROWS = 10_000
"""Rows that one answer may hold."""
MOST_WAITING = 100_000
"""Increments that an answer adds by itself. There are more only where the job that merges them has not run for long."""


_HOURS_AFTER = timedelta(hours=47)
"""Younger roll-ups are all of minutes: hours are made after two days (`storage/rollups/aging.py`)."""


def from_minute(start: datetime) -> dict[str, datetime | None]:
    """The parameters `recent` and `old` of a statement about roll-ups from a minute on: one has it, the other is None.

    Where there may be hours, the one that the minute is in counts; the index finds minutes alone quicker.
    """
    recent = start > datetime.now(UTC) - _HOURS_AFTER
    return {"recent": start if recent else None, "old": None if recent else start}


class RollupsBehind(DatabaseUnavailable):
    """The roll-ups are behind, because no Ares has merged them for some time; ask with `exact=true`, or wait."""


@dataclass(frozen=True, slots=True)
class Recent(Generic[Row]):
    """Rows about the time from `since` to now; one more than `MAX_ROWS` where there are more."""

    rows: list[Row]
    since: datetime


async def recent_performance(pool: asyncpg.Pool, service: str | None = None) -> Recent[OperationRow]:
    """Calls, errors and latency of the operations of the last hour, by service and most calls first.

    Raises DatabaseUnavailable, QueryTooSlow, RollupsBehind.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(
            _STATEMENTS["recent_performance"], service=service, most=MAX_ROWS + 1, most_waiting=MOST_WAITING + 1
        )
    _check(records)
    rows = await asyncio.to_thread(_operations, records) if len(records) > 100 else _operations(records)
    return Recent(rows[: MAX_ROWS + 1], records[0]["since"])


async def recent_health(pool: asyncpg.Pool) -> Recent[HealthRow]:
    """The registered services with what their logs of the last hour say, by name.

    Raises DatabaseUnavailable, QueryTooSlow, RollupsBehind.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["recent_health"], limit=MAX_ROWS + 1, most_waiting=MOST_WAITING + 1)
    _check(records)
    rows = await asyncio.to_thread(_health, records) if len(records) > 100 else _health(records)
    return Recent(rows, records[0]["since"])


def _check(records: Sequence[Any]) -> None:
    if records[0]["waiting"] > MOST_WAITING:
        raise RollupsBehind


def _operations(records: Sequence[Any]) -> list[OperationRow]:
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for record in records:
        if record["service_name"] is not None:
            groups[record["service_name"], record["operation_name"]].append(record)
    rows = [_operation(*names, parts) for names, parts in groups.items()]
    rows.sort(key=lambda row: (row.service_name, -row.call_count, row.operation_name))
    return rows


def _operation(service_name: str, operation_name: str, parts: Sequence[Any]) -> OperationRow:
    calls = sum(part["calls"] for part in parts)
    highest = max(part["duration_ns_max"] for part in parts)
    if parts[0]["buckets"] is None:
        (ready,) = parts
        ns = ready["percentiles_ns"]
    else:
        cells: Histogram = {}
        for part in parts:
            add(cells, int2_array(part["buckets"]), int8_array(part["counts"]))
        ns = percentiles(*arrays(cells), highest)
    return OperationRow(
        service_name,
        operation_name,
        calls,
        float(sum(part["duration_ns_sum"] for part in parts)) / calls / 1e6,
        ns[0] / 1e6,
        ns[1] / 1e6,
        ns[2] / 1e6,
        sum(part["errors"] for part in parts),
    )


def _health(records: Sequence[Any]) -> list[HealthRow]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        if record["service_name"] is not None:
            groups[record["service_name"]].append(record)
    return [_service(name, parts) for name, parts in groups.items()]


def _service(name: str, parts: Sequence[Any]) -> HealthRow:
    traces = Sketch()
    if len(parts) > 1:
        for part in parts:
            traces.add(int8_array(part["trace_hashes"]), part["threshold"])
        number = traces.traces
    else:
        number = Sketch.estimate(parts[0]["hashes"] or 0, parts[0]["threshold"])
    return HealthRow(
        name,
        parts[0]["status"],
        parts[0]["version"],
        parts[0]["last_heartbeat"],
        parts[0]["seconds_since_heartbeat"],
        number,
        sum(part["error"] or 0 for part in parts),
    )
