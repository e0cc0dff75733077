"""Which traces match.

A search goes back in time in ranges whose length follows the time that they take (`query/ranges.py`), and in a range
from the newest matching spans on, some thousand at a time, leaving out the traces that it has: so the newest trace is
found first, and one with a million matching spans does not stand in the way of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.ranges import Range, Steps, just_after, partition_starts, time_of
from ares_otel.query.reader import QueryTooSlow, Reader, reading
from ares_otel.query.search.compiler import Answers
from ares_otel.query.search.pattern import Pattern
from ares_otel.query.search.predicate import Predicate
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.search.statements import (
    LIVE,
    PINNED,
    Compiled,
    aside_texts_statement,
    asides_with,
    ids_statement,
    questions,
    texts_statement,
    traces_statement,
)
from ares_otel.query.search.validate import planned
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import SPANS

SEARCH_SECONDS = 10.0
"""After so long a search ends with what it has."""
STATEMENT_SECONDS = 4.0
"""After so long a statement is ended, and its range is cut into shorter ones."""
SCAN, SCAN_MOST = 2_000, 128_000
"""Matching spans that a statement groups into traces; more when they are of few traces."""
MAX_IDS = 1000
"""Resources or scopes that are listed; of more the statement asks by their condition."""
MAX_TEXTS = 20_000
"""Different texts of a range that a regular expression is matched with; for more the range is cut."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""The same in bytes."""
_PINNED_ANY = load_statements("trace_summaries.sql")["pinned_any"]
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class FoundTrace:
    """A trace, and where its matching spans lie."""

    trace_id: UUID
    start: Instant
    """The earliest start of the matching spans that were looked at: a hint for reading."""
    end: Instant
    """Just after the latest start."""


class FoundTraces(list[FoundTrace]):
    """Traces, most recent first."""

    complete: bool = True
    """False when the time was over before everything was looked at."""


async def find_traces(pool: asyncpg.Pool, query: TraceQuery, *, now: datetime | None = None) -> FoundTraces:
    """The traces that match, the one with the newest matching span first, at most `query.limit`.

    Raises:
        Refused: the query cannot be served.
        DatabaseUnavailable, QueryTooSlow: see `reader`; the second when the time was over and nothing was found.
    """
    predicate = planned(query)
    async with reading(pool, heavy=True) as reader:
        search = _Search(reader, predicate, query)
        await search.prepare()
        starts = await partition_starts(pool, reader, SPANS)
        steps = Steps(starts, Range(time_of(query.start), just_after(query.end)), now or datetime.now(UTC))
        await search.run(steps)
        await search.run_over_pinned()
    if search.found.complete or search.found:
        return search.found
    back = f" back to {steps.reached:%Y-%m-%dT%H:%M:%SZ}" if steps.reached is not None else ""
    raise QueryTooSlow(f"No trace was found{back} when the time was over; narrow the time range, or name a service.")


class _Search:
    """One search over one connection."""

    def __init__(self, reader: Reader, predicate: Predicate, query: TraceQuery) -> None:
        self.found = FoundTraces()
        self._reader = reader
        self._predicate = predicate
        self._query = query
        self._answers = Answers()
        self._asides, self._texts = questions(predicate)
        self._patterns: dict[str, Pattern] = {}
        self._ends_at = time.monotonic() + SEARCH_SECONDS

    async def prepare(self) -> None:
        """Learns which resources and scopes are meant."""
        if not self._asides:
            return
        for number, aside in enumerate(self._asides):
            if aside.pattern is not None:
                statement = aside_texts_statement(aside, MAX_TEXTS, MAX_TEXT_BYTES)
                self._answers.aside_texts[number] = await self._matching(statement, aside.pattern)
        for number, aside in enumerate(asides_with(self._predicate, self._answers)):
            rows = await self._fetch(ids_statement(aside, MAX_IDS + 1))
            self._answers.ids[number] = [row["id"] for row in rows] if len(rows) <= MAX_IDS else None
            if len(rows) <= MAX_IDS and aside.level == "resource":
                self._answers.services[number] = sorted({row["service"] for row in rows})

    async def run(self, steps: Steps) -> None:
        """Fills `found`, as far as the time allows."""
        while len(self.found) < self._query.limit and (range_ := steps.next()) is not None:
            began = time.monotonic()
            if began >= self._ends_at:
                self.found.complete = False
                return
            try:
                await self._look(range_)
            except QueryTooSlow:
                if not steps.failed():
                    self.found.complete = False
                    return
            else:
                steps.took(time.monotonic() - began)

    async def run_over_pinned(self) -> None:
        """Looks at the copies of pinned traces: those whose partitions are gone are older than everything else."""
        if not self.found.complete or len(self.found) >= self._query.limit:
            return
        if not await self._reader.fetch(_PINNED_ANY):
            return
        try:
            await self._look(Range(None, None), PINNED)
        except QueryTooSlow:
            self.found.complete = False
        self.found.sort(key=lambda trace: (trace.end, trace.trace_id), reverse=True)

    async def _look(self, range_: Range, table: str = LIVE) -> None:
        """Looks at one range. Raises QueryTooSlow; what was found by then stays."""
        for number, texts in enumerate(self._texts):
            statement = texts_statement(
                table, self._predicate, self._query, self._answers, range_, number, MAX_TEXTS, MAX_TEXT_BYTES
            )
            self._answers.texts[number] = await self._matching(statement, texts.pattern)
        scan, upper = max(SCAN, 10 * self._query.limit), range_.upper
        while len(self.found) < self._query.limit:
            known = [trace.trace_id for trace in self.found]
            rows = await self._fetch(
                traces_statement(
                    table, self._predicate, self._query, self._answers, Range(range_.lower, upper), known, scan
                )
            )
            for row in rows[: self._query.limit - len(self.found)]:
                self.found.append(_found(row))
            if not rows or rows[0]["spans"] < scan:
                return
            # What is as old as the last one and was not among them is of another trace.
            upper, scan = rows[0]["reached"] + _MICROSECOND, min(4 * scan, SCAN_MOST)

    async def _matching(self, statement: Compiled, pattern: str) -> list[str]:
        """The texts in which a regular expression is found. Raises QueryTooSlow also when there are too many."""
        rows = await self._fetch(statement)
        if rows and rows[0]["texts"] > len(rows):
            raise QueryTooSlow("The regular expression meets too many different texts; narrow the search.")
        compiled = self._patterns.setdefault(pattern, Pattern(pattern))
        texts: Sequence[str] = [row["text"] for row in rows]
        return await asyncio.to_thread(compiled.matching, texts, until=self._ends_at)

    async def _fetch(self, statement: Compiled) -> list[Any]:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise QueryTooSlow
        return await self._reader.fetch_within(min(left, STATEMENT_SECONDS), statement)


def _found(row: Any) -> FoundTrace:
    return FoundTrace(row["trace_id"], Instant.from_ns(row["oldest"]), Instant.from_ns(row["newest"] + 1))
