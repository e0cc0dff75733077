"""Adds points that came as deltas to the totals of their series, each once.

What a request stored stands in metric_delta_arrivals, written in its transaction. One transaction here takes some of it
away and writes the totals: whatever breaks it off, the next one begins where it began. Of two points of one series and
time the first counts, as everywhere; whether a late one is a second one is seen in the tables of points, at the same
moment as the arrivals.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.storage.rollups.columns import as_array, columns_of
from ares_otel.storage.totals.distributions import COLUMNS, Explicit, Exponential

SeriesKey = tuple[int, UUID]
"""tenant_id, series_id."""
Key = tuple[int, UUID, datetime, int]
"""tenant_id, series_id, timestamp, timestamp_ns."""
Moment = tuple[datetime, int]
"""A time and the nanoseconds beyond it."""

TAKE = """
DELETE FROM metric_delta_arrivals
WHERE ctid = ANY (ARRAY(SELECT ctid FROM metric_delta_arrivals LIMIT $1))
RETURNING tenant_id, series_id, "timestamp", timestamp_ns, value
"""
_TOTALS = f"""
SELECT t.tenant_id, t.series_id, t.since, t.last_timestamp, t.last_timestamp_ns, t.points, t.value,
       {", ".join(f"t.{column}" for column in COLUMNS)}
FROM unnest($1::integer[], $2::uuid[]) AS k (tenant_id, series_id)
JOIN metric_totals t ON t.series_id = k.series_id AND t.tenant_id = k.tenant_id
"""  # noqa: S608 - our own names
_DAYS = """
SELECT t.tenant_id, t.series_id, t.day, t.points, t.value
FROM unnest($1::integer[], $2::uuid[], $3::date[]) AS k (tenant_id, series_id, day)
JOIN metric_day_totals t ON t.series_id = k.series_id AND t.tenant_id = k.tenant_id AND t.day = k.day
"""
_KEYS = """
unnest($1::integer[], $2::uuid[], $3::timestamptz[], $4::smallint[]) WITH ORDINALITY
    AS k (tenant_id, series_id, "timestamp", ns, n)
"""
_SAME = """
m.series_id = k.series_id AND m."timestamp" = k."timestamp" AND m.timestamp_ns = k.ns AND m.tenant_id = k.tenant_id
"""
# How many points of a series and time are stored, less those that are not taken yet.
_STORED = f"""
SELECT k.n - 1 AS n, p.count + q.count + d.count - coalesce(w.count, 0) AS count
FROM {_KEYS}
CROSS JOIN LATERAL (SELECT count(*) FROM metric_samples m WHERE {_SAME}) p
CROSS JOIN LATERAL (
    SELECT count(*) FROM metric_packs p CROSS JOIN LATERAL unpacked(p) m
    WHERE p.tenant_id = k.tenant_id AND p.series_id = k.series_id AND p.last_timestamp >= k."timestamp"
      AND p."timestamp" BETWEEN k."timestamp" - interval '1 day' AND k."timestamp"
      AND m."timestamp" = k."timestamp" AND m.timestamp_ns = k.ns
) q
CROSS JOIN LATERAL (SELECT count(*) FROM metric_distributions m WHERE {_SAME}) d
LEFT JOIN (
    SELECT tenant_id, series_id, "timestamp", timestamp_ns, count(*) AS count
    FROM metric_delta_arrivals GROUP BY 1, 2, 3, 4
) w ON w.series_id = k.series_id AND w."timestamp" = k."timestamp" AND w.timestamp_ns = k.ns
    AND w.tenant_id = k.tenant_id
"""  # noqa: S608
_POINTS = f"""
SELECT k.n - 1 AS n, p.*
FROM {_KEYS}
CROSS JOIN LATERAL (
    SELECT {", ".join(f"m.{column}" for column in COLUMNS)} FROM metric_distributions m
    WHERE {_SAME} ORDER BY m.id LIMIT 1
) p
"""  # noqa: S608
_SENT = {
    "explicit_bounds": "text",
    "bucket_counts": "text",
    "positive_counts": "text",
    "negative_counts": "text",
    "count": "bigint",
    "sum": "double precision",
    "scale": "integer",
    "zero_count": "bigint",
    "zero_threshold": "double precision",
    "positive_offset": "integer",
    "negative_offset": "integer",
}
"""Column of `COLUMNS` → as what it is sent. Arrays are text: the driver writes them slowly, and on the event loop."""
_ARRAYS = {"explicit_bounds": "double precision[]"}
"""Type of a column that is sent as text; bigint[] of the others."""
_SENT_TYPES = ", ".join(f"${n}::{_SENT[column]}[]" for n, column in enumerate(COLUMNS, 7))
_AS_COLUMNS = ", ".join(
    f"d.{column}::{_ARRAYS.get(column, 'bigint[]')}" if kind == "text" else f"d.{column}"
    for column, kind in ((column, _SENT[column]) for column in COLUMNS)
)
_WRITE = f"""
INSERT INTO metric_totals AS t (tenant_id, series_id, since, last_timestamp, last_timestamp_ns, points,
                                {", ".join(COLUMNS)})
SELECT d.tenant_id, d.series_id, d.since, d.last, d.last_ns, d.points, {_AS_COLUMNS}
FROM unnest($1::integer[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::smallint[], $6::bigint[],
            {_SENT_TYPES})
     AS d (tenant_id, series_id, since, last, last_ns, points, {", ".join(COLUMNS)})
ON CONFLICT (series_id, tenant_id) DO UPDATE
SET since = excluded.since, last_timestamp = excluded.last_timestamp, last_timestamp_ns = excluded.last_timestamp_ns,
    points = excluded.points, {", ".join(f"{column} = excluded.{column}" for column in COLUMNS)}
"""  # noqa: S608
_WRITE_NUMBERS = """
INSERT INTO metric_totals AS t (tenant_id, series_id, since, last_timestamp, last_timestamp_ns, points, value)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::smallint[], $6::bigint[],
                     $7::double precision[])
ON CONFLICT (series_id, tenant_id) DO UPDATE
SET since = excluded.since, last_timestamp = excluded.last_timestamp, last_timestamp_ns = excluded.last_timestamp_ns,
    points = excluded.points, value = excluded.value
"""
_WRITE_DAYS = """
INSERT INTO metric_day_totals AS t (tenant_id, series_id, day, points, value)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::date[], $4::bigint[], $5::double precision[])
ON CONFLICT (series_id, tenant_id, day) DO UPDATE SET points = excluded.points, value = excluded.value
"""


@dataclass(slots=True)
class _Total:
    since: datetime
    last: Moment
    points: int = 0
    value: float | None = None
    distribution: Explicit | Exponential | None = None

    def meet(self, time: datetime, ns: int) -> None:
        """Counts a point of that time."""
        self.since = min(self.since, time)
        self.last = max(self.last, (time, ns))
        self.points += 1


@dataclass(slots=True)
class _Changed:
    numbers: dict[SeriesKey, _Total] = field(default_factory=dict)
    distributions: dict[SeriesKey, _Total] = field(default_factory=dict)
    days: dict[tuple[int, UUID, date], tuple[int, float]] = field(default_factory=dict)
    """Points and their sum."""


async def add_up(connection: asyncpg.Connection, limit: int) -> int:
    """Adds at most so many arrivals to the totals, inside a transaction with one snapshot (`REPEATABLE READ`); returns
    how many it took. Raises asyncpg.PostgresError."""
    taken = await connection.fetch(TAKE, limit)
    if taken:
        await add_taken(connection, taken)
    return len(taken)


async def add_taken(connection: asyncpg.Connection, taken: Sequence[Mapping[str, Any]]) -> None:
    """Adds what `TAKE` gave, in its transaction. Raises asyncpg.PostgresError."""
    counts, values = await asyncio.to_thread(_once, taken)
    series = {key[:2] for key in counts}
    totals = {
        (row["tenant_id"], row["series_id"]): _total_of(row)
        for row in await connection.fetch(_TOTALS, *columns_of(series))
    }
    late = [key for key in counts if key[:2] in totals and key[2:] <= totals[key[:2]].last]
    if late:
        for row in await connection.fetch(_STORED, *columns_of(late)):
            key = late[row["n"]]
            if row["count"] > counts[key]:  # one of them was added before
                del values[key]
    numbers = {key: value for key, value in values.items() if value is not None}
    others = [key for key, value in values.items() if value is None]
    rows = await connection.fetch(_POINTS, *columns_of(others)) if others else []
    changed = await asyncio.to_thread(_added, totals, numbers, [(others[row["n"]], row) for row in rows])
    await _write(connection, changed)


def _once(rows: Iterable[Mapping[str, Any]]) -> tuple[Counter[Key], dict[Key, float | None]]:
    """How often each key arrived, and the value of the first of each."""
    counts: Counter[Key] = Counter()
    values: dict[Key, float | None] = {}
    for row in rows:
        key = (row["tenant_id"], row["series_id"], row["timestamp"], row["timestamp_ns"])
        counts[key] += 1
        values.setdefault(key, row["value"])
    return counts, values


def _total_of(row: Mapping[str, Any]) -> _Total:
    total = _Total(row["since"], (row["last_timestamp"], row["last_timestamp_ns"]), row["points"], row["value"])
    if row["count"] is not None:
        total.distribution = Exponential() if row["scale"] is not None else Explicit()
        total.distribution.add(row)
    return total


def _added(
    totals: dict[SeriesKey, _Total], numbers: Mapping[Key, float], rows: Sequence[tuple[Key, Mapping[str, Any]]]
) -> _Changed:
    """What is not a finite number above zero is no part of a counter: it is counted as a point that adds nothing."""
    changed = _Changed()
    for (tenant, series, time, ns), value in numbers.items():
        total = totals.setdefault((tenant, series), _Total(time, (time, ns)))
        total.meet(time, ns)
        adds = value if 0 < value < math.inf else 0.0
        total.value = (total.value or 0.0) + adds
        changed.numbers[tenant, series] = total
        day = (tenant, series, time.astimezone(UTC).date())
        points, sum_ = changed.days.get(day, (0, 0.0))
        changed.days[day] = points + 1, sum_ + adds
    for (tenant, series, time, ns), row in rows:
        total = totals.setdefault((tenant, series), _Total(time, (time, ns)))
        total.meet(time, ns)
        if total.distribution is None:
            total.distribution = Exponential() if row["scale"] is not None else Explicit()
        total.distribution.add(_without_nan(row))
        changed.distributions[tenant, series] = total
    return changed


def _without_nan(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sum that is no number, for it or its total never becomes one again, is none."""
    return row if row["sum"] is None or not math.isnan(row["sum"]) else {**row, "sum": None}


async def _write(connection: asyncpg.Connection, changed: _Changed) -> None:
    if changed.numbers:
        rows = ((*key, total.since, *total.last, total.points, total.value) for key, total in changed.numbers.items())
        await connection.execute(_WRITE_NUMBERS, *columns_of(rows))
        for row in await connection.fetch(_DAYS, *columns_of(changed.days)):
            day = (row["tenant_id"], row["series_id"], row["day"])
            points, value = changed.days[day]
            changed.days[day] = row["points"] + points, row["value"] + value
        await connection.execute(_WRITE_DAYS, *columns_of((*key, *sums) for key, sums in changed.days.items()))
    if changed.distributions:
        await connection.execute(_WRITE, *await asyncio.to_thread(_sent, changed.distributions))


def _sent(distributions: Mapping[SeriesKey, _Total]) -> list[list[Any]]:
    """Arguments of `_WRITE`."""
    made: list[tuple[Any, ...]] = []
    for key, total in distributions.items():
        assert total.distribution is not None
        values = (as_array(value) if isinstance(value, list) else value for value in total.distribution.columns())
        made.append((*key, total.since, *total.last, total.points, *values))
    return columns_of(made)
