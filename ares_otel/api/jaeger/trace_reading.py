"""Traces for Jaeger's doors: as they are stored, or made ready to be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from uuid import UUID

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.adjust import MAX_MIB, MAX_SKEW_NS, MAX_SPANS, TOO_LARGE, adjust
from ares_otel.api.jaeger.holding import Holding
from ares_otel.api.jaeger.warnings import add_warning
from ares_otel.query.instant import Instant
from ares_otel.query.reader import QueryTooSlow
from ares_otel.query.search.find import FoundTrace
from ares_otel.query.trace_places import has_spans
from ares_otel.query.trace_stream import ALL_WAITS_SECONDS, stream_trace

MAX_BYTES = MAX_MIB * 1024 * 1024
"""A trace of more bytes is, like one of more spans than `adjust.MAX_SPANS`, too large to be held as a whole."""
ALL_BYTES = 3 * MAX_BYTES
"""Of all traces that are held, per door: those that are collected, and those that somebody is slow to take."""
_AT_ONCE = 2
"""Traces of more than one piece that are collected and adjusted at once, per door."""
_FEW = 50
"""Spans that are adjusted on the spot: a thread costs more."""


class TraceReading:
    """Reads traces out of a pool. Every piece holds spans of one trace; those of a trace follow each other."""

    def __init__(self, pool: asyncpg.Pool, *, max_skew_ns: int = MAX_SKEW_NS) -> None:
        """`max_skew_ns`: see `adjust`."""
        self._pool = pool
        self._max_skew_ns = max_skew_ns
        self._collecting = asyncio.Semaphore(_AT_ONCE)
        self._holding = Holding(ALL_BYTES)

    async def trace(
        self,
        trace_id: UUID,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        near: tuple[Instant, Instant] | None = None,
        raw: bool = True,
    ) -> AsyncGenerator[TracesData, None]:
        """One trace in pieces; none for an id that is not known.

        Args:
            start, end: where to look for it: a trace of which no span starts within is none that is known. It comes as
                a whole in any case, as searches say where their matching spans were, not where the trace is.
            near: where spans of it were found: it is looked for around this time.
            raw: as stored. Else it is adjusted, unless it is too large.

        Raises DatabaseUnavailable, QueryTooSlow.
        """
        if (start or end) and not await has_spans(self._pool, trace_id, start=start, end=end):
            return
        pieces = stream_trace(self._pool, trace_id, near=near)
        async with aclosing(pieces if raw else self._adjusted(pieces)) as opened:
            async for piece in opened:
                yield piece

    async def found(self, traces: Iterable[FoundTrace], *, raw: bool = True) -> AsyncGenerator[TracesData, None]:
        """What a search found, one trace after the other. Raises DatabaseUnavailable, QueryTooSlow."""
        for each in traces:
            async with aclosing(self.trace(each.trace_id, near=(each.start, each.end), raw=raw)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _adjusted(self, pieces: AsyncGenerator[TracesData, None]) -> AsyncGenerator[TracesData, None]:
        """The pieces of a trace, adjusted as a whole; a trace that is too large comes as it is, and says so."""
        async with aclosing(pieces) as opened:
            held = [piece async for piece in _at_most(opened, 2)]
            if len(held) < 2:  # nearly every trace is one piece
                spans = sum(map(span_count, held))
                for piece in await _off_the_loop(spans, partial(_adjusted_pieces, held, self._max_skew_ns)):
                    yield piece
                return
            async with self._holding.room(MAX_BYTES) as room:
                async with self._collecting:
                    spans, size = sum(map(span_count, held)), sum(piece.ByteSize() for piece in held)
                    complete = False
                    while spans <= MAX_SPANS and size <= MAX_BYTES:
                        following = await anext(opened, None)
                        if complete := following is None:
                            held = await _off_the_loop(spans, partial(_adjusted_pieces, held, self._max_skew_ns))
                            break
                        held.append(following)
                        spans += span_count(following)
                        size += following.ByteSize()
                if not complete:
                    add_warning(held[0].resource_spans[0].scope_spans[0].spans[0], TOO_LARGE)
                room.keep(size)
                async for piece in _handed_on(held):
                    yield piece
            async for piece in opened:
                yield piece


async def _handed_on(held: list[TracesData]) -> AsyncGenerator[TracesData, None]:
    """The pieces, which are forgotten as they are taken. Raises QueryTooSlow for somebody who takes them too slowly."""
    clock = asyncio.get_running_loop().time
    waited = 0.0
    while held:
        began = clock()
        yield held.pop(0)
        waited += clock() - began
        if waited > ALL_WAITS_SECONDS:
            raise QueryTooSlow("The trace was taken too slowly, and its memory is needed by others; read faster.")


async def _at_most(pieces: AsyncGenerator[TracesData, None], most: int) -> AsyncGenerator[TracesData, None]:
    """The next pieces, so many at most; those behind them can still be taken."""
    for _ in range(most):
        piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def span_count(piece: TracesData) -> int:
    """How many spans a piece holds."""
    return sum(len(scope.spans) for resource in piece.resource_spans for scope in resource.scope_spans)


async def _off_the_loop(spans: int, make: Callable[[], list[TracesData]]) -> list[TracesData]:
    """What the function makes, in a thread where it takes long."""
    return make() if spans <= _FEW else await asyncio.to_thread(make)


def _adjusted_pieces(pieces: list[TracesData], max_skew_ns: int) -> list[TracesData]:
    """The same spans in the same pieces, after the whole was adjusted."""
    whole = TracesData()
    for piece in pieces:
        whole.resource_spans.extend(piece.resource_spans)
    rest = iter(adjust(whole, max_skew_ns=max_skew_ns).resource_spans)
    return [TracesData(resource_spans=[next(rest) for _ in piece.resource_spans]) for piece in pieces]
