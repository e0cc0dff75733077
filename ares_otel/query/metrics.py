"""Metric data points, newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import Instant
from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rows import MetricRow, rows_of, was_cut
from ares_otel.query.statements import load_statements

_METRICS = load_statements("metrics.sql")["metrics"]


@dataclass(frozen=True, slots=True)
class MetricFilter:
    """Which data points; everything that is given must hold. Times count to the microsecond, as the view shows them."""

    start: Instant
    """At or after."""
    end: Instant | None = None
    """Before."""
    service: str | None = None
    """Exact `service_name`; cut to 255 characters, as the stored names are."""
    metric: str | None = None
    """Exact `metric_name`."""


@dataclass(frozen=True, slots=True)
class MetricPage:
    rows: list[MetricRow]
    next: Cursor | None
    """Where the next page starts; None at the end."""


async def find_metrics(
    pool: asyncpg.Pool, wanted: MetricFilter, *, limit: int, after: Cursor | None = None
) -> MetricPage:
    """The newest data points that match, ordered by (timestamp, id), newest first.

    A page has at most `limit` rows, fewer where rows are so large that together they pass `reader.MAX_BYTES`. A cursor
    brings the start of its first page's window along, which then counts instead of `wanted.start`: a window relative
    to now would move on between two pages.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    start = after.since if after is not None and after.since is not None else wanted.start.time
    async with reading(pool) as reader:
        records = await reader.fetch(
            _METRICS,
            from_time=start,
            to_time=wanted.end and wanted.end.time,
            service=wanted.service,
            metric=wanted.metric,
            after_time=after and after.time,
            after_id=after and after.id,
            limit=limit + 1,
            max_bytes=MAX_BYTES,
        )
    rows = rows_of(MetricRow, records[:limit])
    if not was_cut(records, limit):
        return MetricPage(rows, None)
    return MetricPage(rows, Cursor("metrics", rows[-1].timestamp, 0, rows[-1].id, since=start))
