"""Traces that somebody pinned: they stay when retention drops the partitions that they came in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.query.cursor import Cursor
from ares_otel.query.ranges import Range
from ares_otel.query.reader import Reader, reading
from ares_otel.query.statements import load_statements
from ares_otel.query.trace_places import TracePlaces
from ares_otel.storage.pinned.tables import LOCK, MAX_ROWS

_STATEMENTS = load_statements("pinned.sql")
MAX_TRACES = 1_000
MAX_BYTES = 1024**3
"""How many traces may be pinned, and how large all of them may be, unless the settings `retention.pinned.max_traces`
and `retention.pinned.max_bytes` of `ares-api` say otherwise."""
MAX_NAME = 255
"""Characters of the name of who pins."""
COPY_SECONDS = 60.0
"""Time for each statement that copies, or deletes copies: longer than a read has."""
LOCK_SECONDS = 5.0
"""How long a pin waits for another one, or for retention that copies rows just now."""


class PinRefused(AresError):
    """The trace cannot be pinned: too much is pinned already, or it is too large; unpin traces, or raise
    retention.pinned.max_bytes or retention.pinned.max_traces."""


@dataclass(frozen=True, slots=True)
class PinnedTrace:
    """A row of `pinned_traces`."""

    tenant_id: int
    trace_id: UUID
    pinned_at: datetime
    pinned_by: str | None
    """As they said; None when they did not."""
    first_time: datetime
    last_time: datetime
    """The earliest and the latest time that a copied row is filed under."""
    spans: int
    logs: int
    bytes: int
    """Of the copied rows. Late ones are copied, and counted, when their partition leaves."""
    left_out: int
    """Rows that were lost with their partition because the trace is larger than `tables.MAX_ROWS`."""


@dataclass(frozen=True, slots=True)
class PinnedPage:
    rows: list[PinnedTrace]
    next: Cursor | None
    """Where the next page starts; None at the end."""


async def pin_trace(
    pool: asyncpg.Pool, trace_id: UUID, by: str | None, *, tenant_id: int = 0, now: datetime | None = None
) -> PinnedTrace | None:
    """Pins a trace: copies its spans and log records to where retention does not come. None: no such trace.

    One that is pinned stays as it is, with who pinned it first.

    Args:
        by: who pins it, at most `MAX_NAME` characters; more are cut off.

    Raises:
        PinRefused: more would be pinned than may be.
        DatabaseUnavailable, QueryTooSlow: see `reader`; the first also while another trace is pinned for seconds.
    """
    places = TracePlaces(trace_id, now=now)
    async with reading(pool) as reader:
        complete = await places.look(pool, reader)
    if not complete:
        await places.go_on(pool)
    trace = {"trace_id": trace_id, "tenant_id": tenant_id}
    name = by[:MAX_NAME].replace("\0", "\ufffd") if by else None
    async with reading(pool) as reader, reader.transaction(lock_timeout=LOCK_SECONDS):
        await _begin(reader)
        if known := await reader.fetch(_STATEMENTS["one"], **trace):
            return _trace(known[0])
        await _refuse_too_much(reader, places, trace)
        await _over(reader, "copy_spans", places.spans, trace)
        await _over(reader, "copy_logs", places.logs, trace)
        rows = await reader.fetch_within(COPY_SECONDS, _STATEMENTS["pin"], pinned_by=name, **trace)
    return _trace(rows[0]) if rows else None


async def unpin_trace(pool: asyncpg.Pool, trace_id: UUID, *, tenant_id: int = 0) -> PinnedTrace | None:
    """Unpins a trace: what is in partitions stays as long as they do, the rest is gone. None: it is not pinned.

    Raises DatabaseUnavailable, QueryTooSlow: see `reader`; the first also while another trace is pinned for seconds.
    """
    trace = {"trace_id": trace_id, "tenant_id": tenant_id}
    async with reading(pool) as reader, reader.transaction(lock_timeout=LOCK_SECONDS):
        await _begin(reader)
        rows = await reader.fetch(_STATEMENTS["unpin"], **trace)
        if rows:
            await reader.fetch_within(COPY_SECONDS, _STATEMENTS["unpin_spans"], **trace)
            await reader.fetch_within(COPY_SECONDS, _STATEMENTS["unpin_logs"], **trace)
    return _trace(rows[0]) if rows else None


async def find_pinned_trace(pool: asyncpg.Pool, trace_id: UUID, *, tenant_id: int = 0) -> PinnedTrace | None:
    """The trace if it is pinned. Raises DatabaseUnavailable, QueryTooSlow: see `reader`."""
    async with reading(pool) as reader:
        rows = await reader.fetch(_STATEMENTS["one"], trace_id=trace_id, tenant_id=tenant_id)
    return _trace(rows[0]) if rows else None


async def find_pinned(pool: asyncpg.Pool, *, limit: int, after: Cursor | None = None) -> PinnedPage:
    """At most `limit` pinned traces, the latest pin first.

    Raises DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    async with reading(pool) as reader:
        records = await reader.fetch(_STATEMENTS["page"], after_time=after and after.time, limit=limit + 1)
    rows = [_trace(record) for record in records[:limit]]
    return PinnedPage(rows, Cursor("pinned", rows[-1].pinned_at, 0, 0) if len(records) > limit else None)


async def _begin(reader: Reader) -> None:
    """One at a time changes what is pinned."""
    await reader.fetch(_STATEMENTS["lock"], key=LOCK, timeout=f"{COPY_SECONDS:.0f}s")


async def _refuse_too_much(reader: Reader, places: TracePlaces, trace: dict[str, Any]) -> None:
    [bounds] = await reader.fetch(_STATEMENTS["bounds"])
    max_traces = MAX_TRACES if bounds["max_traces"] is None else bounds["max_traces"]
    max_bytes = MAX_BYTES if bounds["max_bytes"] is None else bounds["max_bytes"]
    if bounds["traces"] >= max_traces:
        raise PinRefused(
            f"{bounds['traces']} traces are pinned, and no more than {max_traces} may be; unpin some, or raise "
            "retention.pinned.max_traces of ares-api."
        )
    rows = size = 0
    for statement, ranges in (("weigh_spans", places.spans), ("weigh_logs", places.logs)):
        for weight in await _over(reader, statement, ranges, trace | {"most": MAX_ROWS + 1}):
            rows, size = rows + weight["rows"], size + weight["bytes"]
    if rows > MAX_ROWS:
        raise PinRefused(f"The trace has more than {MAX_ROWS:,} spans and log records, which is too many to pin.")
    if bounds["bytes"] + size > max_bytes:
        raise PinRefused(
            f"The trace has {size:,} bytes, {bounds['bytes']:,} are pinned, and no more than {max_bytes:,} may be; "
            "unpin traces, or raise retention.pinned.max_bytes of ares-api."
        )


async def _over(reader: Reader, statement: str, ranges: Iterable[Range], values: dict[str, Any]) -> list[Any]:
    """The rows of the statement over each of the ranges."""
    rows: list[Any] = []
    for range_ in ranges:
        bounds = {"lower": range_.lower, "upper": range_.upper}
        rows += await reader.fetch_within(COPY_SECONDS, _STATEMENTS[statement], **bounds, **values)
    return rows


def _trace(record: Any) -> PinnedTrace:
    return PinnedTrace(**dict(record))
