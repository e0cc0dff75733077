"""Metric data points, newest first, page by page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import Instant
from ares_otel.query.page import Page
from ares_otel.query.ranges import Range, Steps, just_after, partition_starts
from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rows import MetricRow, rows_of
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, SAMPLES

_METRICS = load_statements("metrics.sql")["metrics"]
FIRST = timedelta(minutes=5)
"""How far a search looks back at first: a few points of every series, whatever their interval."""
HEAVY = timedelta(hours=6)
"""A window that is longer may take long."""


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
    pool: asyncpg.Pool,
    wanted: MetricFilter,
    *,
    limit: int,
    after: Cursor | None = None,
    now: datetime | None = None,
) -> MetricPage:
    """The newest data points that match, ordered by (timestamp, id), newest first.

    A page has at most `limit` rows, fewer where rows are so large that together they pass `reader.MAX_BYTES`. A cursor
    brings the start of its first page's window along, which then counts instead of `wanted.start`: a window relative
    to now would move on between two pages.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    start = after.since if after is not None and after.since is not None else wanted.start.time
    values = {
        "to_time": wanted.end and wanted.end.time,
        "service": wanted.service,
        "metric": wanted.metric,
        "after_time": after and after.time,
        "after_id": after and after.id,
    }
    page = Page(limit, MAX_BYTES)
    now = now or datetime.now(UTC)
    async with reading(pool, heavy=now - start > HEAVY) as reader:
        tables = [await partition_starts(pool, reader, table) for table in (SAMPLES, DISTRIBUTIONS)]
        starts = sorted({start for starts in tables for start in starts})
        upper = just_after(wanted.end, after)
        steps = Steps(starts, Range(start, upper), now, first=FIRST)
        while (range_ := steps.next()) is not None:
            began = time.monotonic()
            found = await reader.fetch(_METRICS, **values, **page.bounds, lower=range_.lower, upper=range_.upper)
            steps.took(time.monotonic() - began)
            page.add(found)
            if page.more:
                break
    rows = rows_of(MetricRow, page.records)
    if not page.more:
        return MetricPage(rows, None)
    return MetricPage(rows, Cursor("metrics", rows[-1].timestamp, 0, rows[-1].id, since=start))
