"""Log records, newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import Instant
from ares_otel.query.page import Page
from ares_otel.query.ranges import Range, by_partitions, just_after, partition_starts, time_of
from ares_otel.query.reader import MAX_BYTES, reading
from ares_otel.query.rows import LogRow, rows_of
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import LOGS

_LOGS = load_statements("logs.sql")["logs"]
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
"""The values of `service_logs.log_level`."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log records; everything that is given must hold."""

    service: str | None = None
    """Exact `service_name`; cut to 255 characters, as the stored names are."""
    level: str | None = None
    """One of `LEVELS`, exactly that one."""
    trace_id: UUID | None = None
    text: str | None = None
    """Part of `message`, letters of either case; letters outside of ASCII as the database's locale folds them."""
    start: Instant | None = None
    """At or after."""
    end: Instant | None = None
    """Before."""


@dataclass(frozen=True, slots=True)
class LogPage:
    rows: list[LogRow]
    next: Cursor | None
    """Where the next page starts; None at the end."""


def like_pattern(text: str) -> str:
    """An ILIKE pattern for "contains exactly this": `%`, `_` and `\\` have no special meaning in the text."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


async def find_logs(
    pool: asyncpg.Pool,
    wanted: LogFilter,
    *,
    limit: int,
    after: Cursor | None = None,
    now: datetime | None = None,
) -> LogPage:
    """The newest log records that match, ordered by (timestamp, timestamp_ns, id), newest first.

    A page has at most `limit` rows, fewer where rows are so large that together they pass `reader.MAX_BYTES`.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    values = {
        "service": wanted.service,
        "level": wanted.level,
        "trace_id": wanted.trace_id,
        "pattern": None if wanted.text is None else like_pattern(wanted.text),
        "from_time": wanted.start and wanted.start.time,
        "from_ns": wanted.start and wanted.start.ns,
        "to_time": wanted.end and wanted.end.time,
        "to_ns": wanted.end and wanted.end.ns,
        "after_time": after and after.time,
        "after_ns": after and after.ns,
        "after_id": after and after.id,
    }
    page = Page(limit, MAX_BYTES)
    async with reading(pool, heavy=wanted.text is not None) as reader:
        starts = await partition_starts(pool, reader, LOGS)
        for range_ in by_partitions(starts, _within(wanted, after), now=now):
            found = await reader.fetch(_LOGS, **values, **page.bounds, lower=range_.lower, upper=range_.upper)
            page.add(found)
            if page.more:
                break
    rows = rows_of(LogRow, page.records)
    if not page.more:
        return LogPage(rows, None)
    last = rows[-1]
    return LogPage(rows, Cursor("logs", last.timestamp, last.timestamp_ns, last.id))


def _within(wanted: LogFilter, after: Cursor | None) -> Range:
    """The range of `timestamp` that can hold what is wanted."""
    return Range(time_of(wanted.start), just_after(wanted.end, after))
