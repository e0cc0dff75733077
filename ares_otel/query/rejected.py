"""What the database refused to store: rows of `ingest_rejected`, newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ares_otel.query.cursor import Cursor
from ares_otel.query.reader import reading
from ares_otel.query.rows import RejectedRow, rows_of
from ares_otel.query.statements import load_statements

_STATEMENTS = load_statements("rejected.sql")


@dataclass(frozen=True, slots=True)
class RejectedFilter:
    """Which rows; everything that is given must hold."""

    service: str | None = None
    """Exact `service_name`; cut to 255 characters, as the stored names are."""
    signal: str | None = None
    """`traces`, `logs` or `metrics`."""
    since: datetime | None = None
    """Refused at or after this time."""


@dataclass(frozen=True, slots=True)
class RejectedPage:
    rows: list[RejectedRow]
    next: Cursor | None
    """Where the next page starts; None at the end."""


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """A row with its payload."""

    row: RejectedRow
    payload: bytes
    """An OTLP export request in protobuf."""


async def find_rejected(
    pool: asyncpg.Pool, wanted: RejectedFilter, *, limit: int, after: Cursor | None = None
) -> RejectedPage:
    """At most `limit` rows that match, ordered by (rejected_at, id), newest first.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(
            _STATEMENTS["page"],
            service=wanted.service,
            signal=wanted.signal,
            since=wanted.since,
            after_time=after and after.time,
            after_id=after and after.id,
            limit=limit + 1,
        )
    rows = rows_of(RejectedRow, records[:limit])
    if len(records) <= limit:
        return RejectedPage(rows, None)
    return RejectedPage(rows, Cursor("rejected", rows[-1].rejected_at, 0, rows[-1].id))


async def find_rejected_item(pool: asyncpg.Pool, id: int) -> RejectedItem | None:
    """One row with its payload; None when there is none of this id. Raises DatabaseUnavailable, QueryTooSlow."""
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["one"], id=id)
    if not records:
        return None
    return RejectedItem(rows_of(RejectedRow, records)[0], bytes(records[0]["payload"]))
