"""Spans that somebody looks for: by service, operation, duration, attributes, newest first, page by page.

A search goes through time from now on backwards, in ranges whose length follows the time that they take
(`query/ranges.py`). When its time is over it ends with what it has, and its cursor goes on where it stopped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import asyncpg
import orjson

from ares_otel.query.instant import Instant
from ares_otel.query.page import Page
from ares_otel.query.ranges import Range, Steps, just_after, partition_starts, time_of
from ares_otel.query.reader import MAX_BYTES, QueryTooSlow, Reader, reading
from ares_otel.query.rows import SpanRow, rows_of
from ares_otel.query.span_cursor import SpanCursor
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import SPANS

_SPANS = load_statements("spans.sql")["spans"]
STATUSES = ("unset", "ok", "error")
"""The values of `service_spans.status`."""
SEARCH_SECONDS = 10.0
"""After so long a search ends with what it has."""
STATEMENT_SECONDS = 4.0
"""After so long a statement is ended, and its range is cut into shorter ones."""
MAX_ATTRIBUTES = 10
_TWOFOLD = ("one", "two", "three", "four", "five")
"""Parameters of the statement for values that have two readings."""
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """An attribute, and how its value is written."""

    key: str
    value: str

    @property
    def other(self) -> str | None:
        """What the value is besides text, as JSON: a number or a boolean; None when it can only be text."""
        return self.value if self.value in ("true", "false") or _NUMBER.fullmatch(self.value) else None


@dataclass(frozen=True, slots=True)
class SpanFilter:
    """Which spans; everything that is given must hold."""

    service: str | None = None
    """Exact `service_name`; cut to 255 characters, as the stored names are."""
    operation: str | None = None
    """Exact `operation_name`."""
    kind: str | None = None
    status: str | None = None
    """One of `STATUSES`."""
    min_ns: int | None = None
    """At least so long."""
    max_ns: int | None = None
    """At most so long."""
    attributes: Sequence[AttributeValue] = ()
    """At most `MAX_ATTRIBUTES`, of which at most five may be read as something else than text."""
    start: Instant | None = None
    """Started at or after."""
    end: Instant | None = None
    """Started before."""
    keep_start: bool = False
    """Whether the start is relative to now, so that later pages must keep it."""


@dataclass(frozen=True, slots=True)
class SpanPage:
    rows: list[SpanRow]
    next: SpanCursor | None
    """Where the next page starts; None at the end."""
    truncated: bool
    """Whether the time was over before everything was looked at; `next` goes on where it stopped."""


async def find_spans(
    pool: asyncpg.Pool,
    wanted: SpanFilter,
    *,
    limit: int,
    after: SpanCursor | None = None,
    now: datetime | None = None,
) -> SpanPage:
    """The newest spans that match, by (start_time, start_ns, trace_id, span_id), newest first.

    A page has at most `limit` rows, fewer where rows are so large that together they pass `reader.MAX_BYTES`, and
    where the time was over (`truncated`).

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`; the second only when not even a second's spans could be
            looked at in the time.
    """
    if after is not None and after.since is not None:
        wanted = replace(wanted, start=Instant(after.since))
    since = wanted.start.time if wanted.start is not None and wanted.keep_start else None
    async with reading(pool, heavy=True) as reader:
        starts = await partition_starts(pool, reader, SPANS)
        steps = Steps(starts, _within(wanted, after), now or datetime.now(UTC))
        page = Page(limit, MAX_BYTES)
        await _search(reader, steps, page, _values(wanted, after))
    rows = rows_of(SpanRow, page.records)
    if page.more:
        last = rows[-1]
        return SpanPage(
            rows, SpanCursor(last.start_time, last.start_ns, last.trace_id, last.span_id, since), truncated=False
        )
    if steps.next() is None:
        return SpanPage(rows, None, truncated=False)
    if steps.reached is None:
        raise QueryTooSlow
    return SpanPage(rows, SpanCursor.before(steps.reached, since), truncated=True)


async def _search(reader: Reader, steps: Steps, page: Page, values: Mapping[str, object]) -> None:
    """Fills the page, as far as the time allows."""
    started = time.monotonic()
    while not page.more and (range_ := steps.next()) is not None:
        began = time.monotonic()
        left = started + SEARCH_SECONDS - began
        if left <= 0:
            return
        try:
            found = await reader.fetch_within(
                min(left, STATEMENT_SECONDS), _SPANS, **values, **page.bounds, lower=range_.lower, upper=range_.upper
            )
        except QueryTooSlow:
            if not steps.failed():
                return
        else:
            steps.took(time.monotonic() - began)
            page.add(found)


def _within(wanted: SpanFilter, after: SpanCursor | None) -> Range:
    """The range of `start_time` that can hold what is wanted."""
    return Range(time_of(wanted.start), just_after(wanted.end, after))


def _values(wanted: SpanFilter, after: SpanCursor | None) -> dict[str, object]:
    """The statement's parameters, but for the range."""
    exact = {attribute.key: attribute.value for attribute in wanted.attributes if attribute.other is None}
    twofold = [attribute for attribute in wanted.attributes if attribute.other is not None]
    values: dict[str, object] = {
        "service": wanted.service,
        "operation": wanted.operation,
        "kind": wanted.kind,
        "status": wanted.status,
        "min_ns": wanted.min_ns,
        "max_ns": wanted.max_ns,
        "exact": orjson.dumps(exact).decode() if exact else None,
        "from_time": wanted.start and wanted.start.time,
        "from_ns": wanted.start and wanted.start.ns,
        "to_time": wanted.end and wanted.end.time,
        "to_ns": wanted.end and wanted.end.ns,
        "after_time": after and after.time,
        "after_ns": after and after.ns,
        "after_trace": after and after.trace_id,
        "after_span": after and after.span_id,
    }
    for place, name in enumerate(_TWOFOLD):
        attribute = twofold[place] if place < len(twofold) else None
        values[name] = attribute and orjson.dumps({attribute.key: attribute.value}).decode()
        values[f"{name}_more"] = attribute and f"{{{orjson.dumps(attribute.key).decode()}:{attribute.other}}}"
    return values


def check_attributes(attributes: Sequence[AttributeValue]) -> None:
    """Raises ValueError for more than can be asked at once; the message is a sentence without a subject."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"may be given {MAX_ATTRIBUTES} times at most")
    if sum(attribute.other is not None for attribute in attributes) > len(_TWOFOLD):
        raise ValueError(f"may name {len(_TWOFOLD)} numbers or booleans at most")
    keys = [attribute.key for attribute in attributes]
    if len(set(keys)) < len(keys):
        raise ValueError("must not name a key twice: an attribute has one value")
