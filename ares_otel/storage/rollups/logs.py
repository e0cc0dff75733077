"""Merges increments of log records into `log_rollups` and `logs_last_hour`, as `spans` does with those of spans."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from ares_otel.storage.rollups.columns import as_array, columns_of, int8_array
from ares_otel.storage.rollups.sketch import HASHES, HOUR_HASHES, Sketch

Minute = tuple[datetime, int, str]
"""minute, tenant_id, service_name."""
Service = tuple[int, str]
"""tenant_id, service_name."""

_TAKE = """
DELETE FROM log_rollup_increments
WHERE ctid = ANY (ARRAY(SELECT ctid FROM log_rollup_increments LIMIT $1))
RETURNING minute, tenant_id, service_name, debug, info, warn, error, array_send(trace_hashes) AS trace_hashes, threshold
"""
_MINUTE_ROWS = """
SELECT r.minute, r.tenant_id, r.service_name, r.debug, r.info, r.warn, r.error,
       array_send(r.trace_hashes) AS trace_hashes, r.threshold
FROM unnest($1::timestamptz[], $2::integer[], $3::text[]) AS k (minute, tenant_id, service_name)
JOIN log_rollups r ON r.minute = k.minute AND r.minutes = 1 AND r.tenant_id = k.tenant_id
    AND r.service_name = k.service_name
"""
_HOUR_ROWS = """
SELECT r.tenant_id, r.service_name, r.error, array_send(r.trace_hashes) AS trace_hashes, r.threshold
FROM unnest($1::integer[], $2::text[]) AS k (tenant_id, service_name)
JOIN logs_last_hour r ON r.tenant_id = k.tenant_id AND r.service_name = k.service_name
"""
WRITE_MINUTE = """
INSERT INTO log_rollups (minute, minutes, tenant_id, service_name, debug, info, warn, error, trace_hashes, threshold)
SELECT minute, minutes, tenant_id, service_name, debug, info, warn, error, trace_hashes::bigint[], threshold
FROM unnest($1::timestamptz[], $2::smallint[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::text[], $10::bigint[])
    AS k (minute, minutes, tenant_id, service_name, debug, info, warn, error, trace_hashes, threshold)
ON CONFLICT (minute, minutes, tenant_id, service_name) DO UPDATE
SET debug = excluded.debug, info = excluded.info, warn = excluded.warn, error = excluded.error,
    trace_hashes = excluded.trace_hashes, threshold = excluded.threshold
"""
WRITE_HOUR = """
INSERT INTO logs_last_hour (tenant_id, service_name, error, trace_hashes, threshold)
SELECT tenant_id, service_name, error, trace_hashes::bigint[], threshold
FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
    AS k (tenant_id, service_name, error, trace_hashes, threshold)
ON CONFLICT (tenant_id, service_name) DO UPDATE
SET error = excluded.error, trace_hashes = excluded.trace_hashes, threshold = excluded.threshold
"""


@dataclass(slots=True)
class Records:
    """What is counted of log records of one minute."""

    debug: int = 0
    info: int = 0
    warn: int = 0
    error: int = 0
    traces: Sketch = field(default_factory=Sketch)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of increments or of `log_rollups`."""
        self.debug += row["debug"]
        self.info += row["info"]
        self.warn += row["warn"]
        self.error += row["error"]
        self.traces.add(int8_array(row["trace_hashes"]), row["threshold"])

    def columns(self) -> tuple[object, ...]:
        """The values of the columns debug to threshold."""
        hashes, threshold = self.traces.kept(HASHES)
        return self.debug, self.info, self.warn, self.error, as_array(hashes), threshold


@dataclass(slots=True)
class Hour:
    """What is counted of log records of an hour."""

    error: int = 0
    traces: Sketch = field(default_factory=Sketch)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of any of the tables."""
        self.error += row["error"]
        self.traces.add(int8_array(row["trace_hashes"]), row["threshold"])

    def columns(self) -> tuple[object, ...]:
        """The values of the columns error to threshold."""
        hashes, threshold = self.traces.kept(HOUR_HASHES)
        return self.error, as_array(hashes), threshold


async def merge_logs(connection: asyncpg.Connection, most: int) -> int:
    """Merges at most so many increments, inside a transaction; returns how many it found."""
    taken = await connection.fetch(_TAKE, most)
    if not taken:
        return 0
    start = await connection.fetchval("SELECT last_hour_start FROM rollup_state")
    minutes, hour = await asyncio.to_thread(_sums, taken, start)
    known_minutes = await connection.fetch(_MINUTE_ROWS, *columns_of(minutes))
    known_hour = await connection.fetch(_HOUR_ROWS, *columns_of(hour)) if hour else []
    minute_rows, hour_rows = await asyncio.to_thread(_merged, minutes, known_minutes, hour, known_hour)
    await connection.execute(WRITE_MINUTE, *minute_rows)
    if hour:
        await connection.execute(WRITE_HOUR, *hour_rows)
    return len(taken)


def _sums(
    rows: Iterable[Mapping[str, Any]], start: datetime | None
) -> tuple[dict[Minute, Records], dict[Service, Hour]]:
    minutes: dict[Minute, Records] = {}
    hour: dict[Service, Hour] = {}
    for row in rows:
        service = (row["tenant_id"], row["service_name"])
        minutes.setdefault((row["minute"], *service), Records()).add(row)
        if start is not None and row["minute"] >= start:
            hour.setdefault(service, Hour()).add(row)
    return minutes, hour


def _merged(
    minutes: Mapping[Minute, Records],
    known_minutes: Iterable[Mapping[str, Any]],
    hour: Mapping[Service, Hour],
    known_hour: Iterable[Mapping[str, Any]],
) -> tuple[list[list[Any]], list[list[Any]]]:
    """The columns to write: what is known and what is new together."""
    for row in known_minutes:
        minutes[row["minute"], row["tenant_id"], row["service_name"]].add(row)
    for row in known_hour:
        hour[row["tenant_id"], row["service_name"]].add(row)
    return (
        columns_of((minute, 1, *key, *records.columns()) for (minute, *key), records in minutes.items()),
        columns_of((*key, *sums.columns()) for key, sums in hour.items()),
    )
