"""Whole traces as OTLP, however large: out of a cursor of the server, in chunks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.query.instant import Instant
from ares_otel.query.reader import QueryTooSlow, Reader, may_stream_at_once, reading, streaming
from ares_otel.query.trace_chunks import WIDE, ChunkMaker
from ares_otel.query.trace_places import TracePlaces
from ares_otel.query.trace_search import STATEMENTS

CHUNK_SPANS = 1_000
CHUNK_BYTES = 1_536 * 1024
"""A chunk holds at most so many spans, and bytes of encoded OTLP (but for a single span that is larger): gRPC clients
take 4 MiB a message."""
WAIT_SECONDS = 30.0
"""How long a stream waits for its consumer to take the next chunk. Then it ends with QueryTooSlow."""
ALL_WAITS_SECONDS = 300.0
"""The same over all chunks: a connection and a snapshot of the database are held meanwhile."""


async def stream_trace(
    pool: asyncpg.Pool,
    trace_id: UUID,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    near: tuple[Instant, Instant] | None = None,
    chunk_spans: int = CHUNK_SPANS,
    chunk_bytes: int = CHUNK_BYTES,
    now: datetime | None = None,
) -> AsyncGenerator[TracesData, None]:
    """The spans of a trace as they were sent, in the order of their starts, chunk by chunk.

    Within a chunk spans are grouped by resource and scope, in the order in which spans first name these. No chunk is
    empty; an unknown id gives none. What was sent twice comes twice. Spans are those that `traces.find_trace` finds,
    without its bounds; a pinned trace comes as a whole. Memory holds a few chunks, whatever the size of the trace.

    One that fits into a chunk is read before that is given. A larger one keeps a connection of the pool until the last
    chunk was taken, `aclose` was called (use `contextlib.aclosing` where the loop may be left early), or the consumer
    was waited for too long; at most `reader.STREAM_SHARE` of the connections do that at once.

    Args:
        start, end: only spans that are filed at or after the one and before the other. Without `start` the search goes
            back until the trace seems complete.
        near: where spans of the trace were found: it is looked for around this time, and not from now on. It comes as
            a whole all the same, as far as its parts lie less than a day apart.
        chunk_spans, chunk_bytes: spans and bytes of encoded OTLP of a chunk, at most, but for a single larger span.
        now: the current time, for tests.

    Raises:
        DatabaseUnavailable: see `reader`; also when too many large traces are read already.
        QueryTooSlow: a statement took too long, or the consumer did.
    """
    stream = _Stream(pool, TracePlaces(trace_id, start, end, near=near, now=now), trace_id, start, end)
    producer = asyncio.create_task(stream.produce(chunk_spans, chunk_bytes), name="trace stream")
    try:
        while (chunk := await stream.chunks.get()) is not None:
            yield chunk
        await producer
    finally:
        producer.cancel()
        # Its error was told above, or nobody is there to be told.
        await asyncio.gather(producer, return_exceptions=True)


class Found(Protocol):
    """A trace that a search found, and where: `query.search.FoundTrace` is one."""

    @property
    def trace_id(self) -> UUID: ...
    @property
    def start(self) -> Instant: ...
    @property
    def end(self) -> Instant: ...


async def stream_traces(
    pool: asyncpg.Pool, found: Iterable[Found], *, chunk_spans: int = CHUNK_SPANS, chunk_bytes: int = CHUNK_BYTES
) -> AsyncGenerator[TracesData, None]:
    """Several traces, one after the other, each in consecutive chunks; see `stream_trace`.

    An id without spans is skipped. Raises as `stream_trace` does.
    """
    for trace in found:
        near = (trace.start, trace.end)
        chunks = stream_trace(pool, trace.trace_id, near=near, chunk_spans=chunk_spans, chunk_bytes=chunk_bytes)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk


class _Stream:
    """What reads, in a task of its own, so that it can lose patience with whoever takes the chunks."""

    def __init__(
        self, pool: asyncpg.Pool, places: TracePlaces, trace_id: UUID, start: Instant | None, end: Instant | None
    ) -> None:
        self.chunks: asyncio.Queue[TracesData | None] = asyncio.Queue(1)
        """Ends with None."""
        self._pool = pool
        self._places = places
        self._values = {
            "trace_id": trace_id,
            "from_time": start and start.time,
            "from_ns": start and start.ns,
            "to_time": end and end.time,
            "to_ns": end and end.ns,
        }
        self._waited = 0.0

    async def produce(self, chunk_spans: int, chunk_bytes: int) -> None:
        """Reads and hands over. Raises as `stream_trace` says, after the connection was given back."""
        try:
            chunks = await self._read(chunk_spans, chunk_bytes)
        except asyncio.CancelledError:
            raise
        except BaseException:
            await self.chunks.put(None)
            raise
        for chunk in chunks:
            await self.chunks.put(chunk)
        await self.chunks.put(None)

    async def _read(self, chunk_spans: int, chunk_bytes: int) -> list[TracesData]:
        """What is left to hand over when the connection is given back."""
        sizes = (chunk_spans, chunk_bytes)
        async with reading(self._pool) as reader:
            complete = await self._places.look(self._pool, reader)
            left = await self._read_at_once(reader, sizes) if complete else None
        if not complete:
            await self._places.go_on(self._pool)
            async with reading(self._pool) as reader:
                left = await self._read_at_once(reader, sizes)
        if left is not None:
            return left
        async with (
            streaming(self._pool),
            reading(self._pool) as reader,
            contextlib.aclosing(self._chunks(reader, sizes)) as chunks,
        ):
            async for chunk in chunks:
                await self._hand_over(chunk)
        return []

    async def _read_at_once(self, reader: Reader, sizes: tuple[int, int]) -> list[TracesData] | None:
        """The same, without waiting for a turn to keep the connection; None where that must be."""
        async with contextlib.aclosing(self._chunks(reader, sizes)) as chunks:
            begun: list[TracesData] = []
            async for chunk in chunks:
                begun.append(chunk)
                if len(begun) == 2:
                    break
            else:
                return begun
            if not may_stream_at_once(self._pool):
                return None
            async with streaming(self._pool):
                for chunk in begun:
                    await self._hand_over(chunk)
                del begun
                async for chunk in chunks:
                    await self._hand_over(chunk)
            return []

    async def _chunks(self, reader: Reader, sizes: tuple[int, int]) -> AsyncGenerator[TracesData, None]:
        """All chunks, of at most so many spans and bytes."""
        maker = ChunkMaker(*sizes)
        for range_ in self._places.spans:
            async with reader.cursor(
                STATEMENTS["stream_spans"],
                WIDE,
                **self._values,
                lower=range_.lower,
                upper=range_.upper,
                pinned=self._places.pinned or None,
            ) as cursor:
                while not cursor.done:
                    rows = await cursor.fetch()
                    for chunk in await maker.add(reader, rows, cursor.size):
                        yield chunk
        for chunk in maker.rest():
            yield chunk

    async def _hand_over(self, chunk: TracesData) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(min(WAIT_SECONDS, ALL_WAITS_SECONDS - self._waited)):
                await self.chunks.put(chunk)
        except TimeoutError as error:
            raise QueryTooSlow(
                "The trace was taken too slowly, and its connection is needed by others; read faster, or a shorter "
                "range of time."
            ) from error
        self._waited += clock() - began
