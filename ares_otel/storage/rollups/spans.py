"""Merges increments of spans into `span_rollups`, `operations_last_hour` and `service_operations`.

Increments are taken away and added in one transaction: whatever kills it, they are in one place and not in two. Rows
are read, added to and written back, which needs the lock of `transaction`. Writers only append to the table of
increments, and nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.storage.rollups import histogram
from ares_otel.storage.rollups.columns import as_array, columns_of, int2_array, int8_array
from ares_otel.storage.rollups.edges import note_arrivals
from ares_otel.storage.rollups.histogram import Histogram

Operation = tuple[int, str, str]
"""tenant_id, service_name, operation_name."""
Minute = tuple[datetime, int, str, str, str]
"""minute, tenant_id, service_name, operation_name, kind."""

# The server puts the increments of a minute and operation together, their histograms one after the other as if they
# were one array (a head of 20 bytes, then elements): that spares a row here for each increment, and costs it little.
TAKE = """
WITH taken AS (
    DELETE FROM span_rollup_increments
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM span_rollup_increments LIMIT $1))
    RETURNING *
)
SELECT minute, tenant_id, service_name, operation_name, kind, count(*) AS increments, sum(calls)::bigint AS calls,
    sum(errors)::bigint AS errors, sum(duration_ns_sum) AS duration_ns_sum, max(duration_ns_max) AS duration_ns_max,
    decode(repeat('00', 20), 'hex') || string_agg(substr(array_send(buckets), 21), '') AS buckets,
    decode(repeat('00', 20), 'hex') || string_agg(substr(array_send(counts), 21), '') AS counts
FROM taken GROUP BY minute, tenant_id, service_name, operation_name, kind
"""
MINUTE_ROWS = """
SELECT r.minute, r.tenant_id, r.service_name, r.operation_name, r.kind, r.calls, r.errors, r.duration_ns_sum,
       r.duration_ns_max, array_send(r.buckets) AS buckets, array_send(r.counts) AS counts
FROM unnest($1::timestamptz[], $2::integer[], $3::text[], $4::text[], $5::text[])
    AS k (minute, tenant_id, service_name, operation_name, kind)
JOIN span_rollups r ON r.minute = k.minute AND r.minutes = 1 AND r.tenant_id = k.tenant_id
    AND r.service_name = k.service_name AND r.operation_name = k.operation_name AND r.kind = k.kind
"""
HOUR_ROWS = """
SELECT r.tenant_id, r.service_name, r.operation_name, r.calls, r.errors, r.duration_ns_sum, r.duration_ns_max,
       array_send(r.buckets) AS buckets, array_send(r.counts) AS counts
FROM unnest($1::integer[], $2::text[], $3::text[]) AS k (tenant_id, service_name, operation_name)
JOIN operations_last_hour r ON r.tenant_id = k.tenant_id AND r.service_name = k.service_name
    AND r.operation_name = k.operation_name
"""
WRITE_MINUTE = """
INSERT INTO span_rollups (minute, minutes, tenant_id, service_name, operation_name, kind, calls, errors,
                          duration_ns_sum, duration_ns_max, buckets, counts)
SELECT minute, minutes, tenant_id, service_name, operation_name, kind, calls, errors, duration_ns_sum, duration_ns_max,
       buckets::smallint[], counts::bigint[]
FROM unnest($1::timestamptz[], $2::smallint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[],
            $8::bigint[], $9::numeric[], $10::bigint[], $11::text[], $12::text[])
    AS k (minute, minutes, tenant_id, service_name, operation_name, kind, calls, errors, duration_ns_sum,
          duration_ns_max, buckets, counts)
ON CONFLICT (minute, minutes, tenant_id, service_name, operation_name, kind) DO UPDATE
SET calls = excluded.calls, errors = excluded.errors, duration_ns_sum = excluded.duration_ns_sum,
    duration_ns_max = excluded.duration_ns_max, buckets = excluded.buckets, counts = excluded.counts
"""
WRITE_HOUR = """
INSERT INTO operations_last_hour (tenant_id, service_name, operation_name, calls, errors, duration_ns_sum,
                                  duration_ns_max, buckets, counts, percentiles_ns)
SELECT tenant_id, service_name, operation_name, calls, errors, duration_ns_sum, duration_ns_max, buckets::smallint[],
       counts::bigint[], percentiles_ns::double precision[]
FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::numeric[], $7::bigint[], $8::text[],
            $9::text[], $10::text[])
    AS k (tenant_id, service_name, operation_name, calls, errors, duration_ns_sum, duration_ns_max, buckets, counts,
          percentiles_ns)
ON CONFLICT (tenant_id, service_name, operation_name) DO UPDATE
SET calls = excluded.calls, errors = excluded.errors, duration_ns_sum = excluded.duration_ns_sum,
    duration_ns_max = excluded.duration_ns_max, buckets = excluded.buckets, counts = excluded.counts,
    percentiles_ns = excluded.percentiles_ns
"""
_OPERATIONS = """
INSERT INTO service_operations AS r (tenant_id, service_name, operation_name, kind, first_seen, last_seen)
SELECT tenant_id, service_name, operation_name, kind, min(minute), max(minute)
FROM unnest($1::timestamptz[], $2::integer[], $3::text[], $4::text[], $5::text[])
    AS k (minute, tenant_id, service_name, operation_name, kind)
GROUP BY tenant_id, service_name, operation_name, kind
ON CONFLICT (tenant_id, service_name, operation_name, kind) DO UPDATE
SET first_seen = least(r.first_seen, excluded.first_seen), last_seen = greatest(r.last_seen, excluded.last_seen)
WHERE excluded.first_seen < r.first_seen OR excluded.last_seen > r.last_seen
"""


@dataclass(slots=True)
class Calls:
    """What is counted of spans."""

    calls: int = 0
    errors: int = 0
    duration_ns_sum: int = 0
    duration_ns_max: int = 0
    cells: Histogram = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of any of the tables, with its arrays as `array_send` gives them."""
        self.calls += row["calls"]
        self.errors += row["errors"]
        self.duration_ns_sum += int(row["duration_ns_sum"])
        self.duration_ns_max = max(self.duration_ns_max, row["duration_ns_max"])
        histogram.add(self.cells, int2_array(row["buckets"]), int8_array(row["counts"]))

    def add_calls(self, other: Calls) -> None:
        """Adds other spans."""
        self.calls += other.calls
        self.errors += other.errors
        self.duration_ns_sum += other.duration_ns_sum
        self.duration_ns_max = max(self.duration_ns_max, other.duration_ns_max)
        histogram.add(self.cells, other.cells.keys(), other.cells.values())

    def columns(self) -> tuple[object, ...]:
        """The values of the columns calls to counts."""
        buckets, counts = histogram.arrays(self.cells)
        return (*self._sums(), as_array(buckets), as_array(counts))

    def columns_with_percentiles(self) -> tuple[object, ...]:
        """The same, and percentiles_ns."""
        buckets, counts = histogram.arrays(self.cells)
        found = histogram.percentiles(buckets, counts, self.duration_ns_max)
        return (*self._sums(), as_array(buckets), as_array(counts), as_array(found))

    def _sums(self) -> tuple[int, int, int, int]:
        return self.calls, self.errors, self.duration_ns_sum, self.duration_ns_max


async def merge_spans(connection: asyncpg.Connection, most: int, edge_age: timedelta) -> int:
    """Merges at most so many increments, inside a transaction; returns how many it found.

    Args:
        edge_age: how old a minute may be whose edges are found again.
    """
    taken = await connection.fetch(TAKE, most)
    if not taken:
        return 0
    minutes = await asyncio.to_thread(_by_minute, taken)
    keys = columns_of(minutes)
    start = await connection.fetchval("SELECT last_hour_start FROM rollup_state")
    hour = await asyncio.to_thread(_by_operation, minutes, start)
    known_minutes = await connection.fetch(MINUTE_ROWS, *keys)
    known_hour = await connection.fetch(HOUR_ROWS, *columns_of(hour)) if hour else []
    minute_rows, hour_rows = await asyncio.to_thread(_merged, minutes, known_minutes, hour, known_hour)
    await connection.execute(WRITE_MINUTE, *minute_rows)
    if hour:
        await connection.execute(WRITE_HOUR, *hour_rows)
    await connection.execute(_OPERATIONS, *keys)
    await note_arrivals(connection, ((minute, service) for minute, _, service, _, _ in minutes), edge_age)
    return sum(row["increments"] for row in taken)


def _by_minute(rows: Iterable[Mapping[str, Any]]) -> dict[Minute, Calls]:
    minutes: dict[Minute, Calls] = {}
    for row in rows:
        key = (row["minute"], row["tenant_id"], row["service_name"], row["operation_name"], row["kind"])
        calls = minutes[key] = Calls()
        calls.add(row)
    return minutes


def _by_operation(minutes: Mapping[Minute, Calls], start: datetime | None) -> dict[Operation, Calls]:
    """The minutes from `start` on, by operation."""
    operations: dict[Operation, Calls] = {}
    for (minute, tenant_id, service_name, operation_name, _), calls in minutes.items():
        if start is not None and minute >= start:
            operations.setdefault((tenant_id, service_name, operation_name), Calls()).add_calls(calls)
    return operations


def _merged(
    minutes: dict[Minute, Calls],
    known_minutes: Iterable[Mapping[str, Any]],
    hour: dict[Operation, Calls],
    known_hour: Iterable[Mapping[str, Any]],
) -> tuple[list[list[Any]], list[list[Any]]]:
    """The columns to write: what is known and what is new together."""
    for row in known_minutes:
        minute = (row["minute"], row["tenant_id"], row["service_name"], row["operation_name"], row["kind"])
        minutes[minute] = _both(row, minutes[minute])
    for row in known_hour:
        operation = (row["tenant_id"], row["service_name"], row["operation_name"])
        hour[operation] = _both(row, hour[operation])
    return (
        columns_of((minute, 1, *key, *calls.columns()) for (minute, *key), calls in minutes.items()),
        columns_of((*key, *calls.columns_with_percentiles()) for key, calls in hour.items()),
    )


def _both(known: Mapping[str, Any], new: Calls) -> Calls:
    """The few that are new are added to the many that are known: that is quicker than the other way round."""
    both = Calls()
    both.add(known)
    both.add_calls(new)
    return both
