"""Traces as JSON of version 1, piece by piece: however large one is, memory holds a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ares_otel.api.envelope import IS_HEAD
from ares_otel.api.jaeger.adjust import MAX_SPANS, TOO_LARGE, adjust
from ares_otel.api.jaeger.v1_envelope import JSON
from ares_otel.api.jaeger.v1_span import trace_id_v1
from ares_otel.api.jaeger.v1_trace import Processes, spans_to_v1
from ares_otel.query.instant import Instant
from ares_otel.query.trace_stream import stream_trace

MAX_HELD = 32 * 1024 * 1024
"""Bytes of OTLP that are held to be adjusted together; a larger trace is shown as one with too many spans."""
_SMALL = 50
"""Spans that are turned into JSON on the spot; a thread costs more."""

Dump = Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class TraceReader:
    """Reads traces and shows them."""

    pool: asyncpg.Pool
    max_skew_ns: int
    dump: Dump
    raw: bool = False
    """Whether they are shown as they are stored."""
    start: Instant | None = None
    end: Instant | None = None

    async def pieces(self, trace_id: UUID) -> AsyncGenerator[bytes, None]:
        """The JSON of one trace in pieces; none for an unknown id. Raises as `stream_trace` does."""
        held: list[TracesData] = []
        spans = size = 0
        streamed: _Streamed | None = None
        chunks = stream_trace(self.pool, trace_id, start=self.start, end=self.end)
        async with aclosing(chunks):
            async for chunk in chunks:
                if streamed is not None:
                    yield await streamed.more(chunk)
                    continue
                held.append(chunk)
                spans += _count(chunk)
                size += chunk.ByteSize()
                if spans > MAX_SPANS or size > MAX_HELD:
                    streamed = _Streamed(self.dump, () if self.raw else (TOO_LARGE,))
                    yield streamed.begin(held[0])
                    for one in held:
                        yield await streamed.more(one)
                    held = []
        if streamed is not None:
            yield streamed.end()
        elif held:
            yield await _shortly(spans, lambda: self._whole(held))

    def _whole(self, chunks: list[TracesData]) -> bytes:
        """The JSON of a trace that is held as a whole."""
        data = chunks[0]
        if len(chunks) > 1:
            data = TracesData()
            for chunk in chunks:
                data.MergeFrom(chunk)
        return whole_trace(data if self.raw else adjust(data, max_skew_ns=self.max_skew_ns), self.dump)


def whole_trace(data: TracesData, dump: Dump) -> bytes:
    """The JSON of one trace."""
    streamed = _Streamed(dump, ())
    return b"".join((streamed.begin(data), streamed.spans(data), streamed.end()))


class _Streamed:
    """A trace's JSON: its processes come last, when all of them are known."""

    def __init__(self, dump: Dump, warnings: tuple[str, ...]) -> None:
        self._dump = dump
        self._warnings = warnings
        self._processes = Processes()
        self._first = True

    def begin(self, data: TracesData) -> bytes:
        trace_id = next(
            span.trace_id for one in data.resource_spans for scope in one.scope_spans for span in scope.spans
        )
        return b'{"traceID":"%s","spans":[' % trace_id_v1(trace_id).encode()

    async def more(self, data: TracesData) -> bytes:
        return await _shortly(_count(data), lambda: self.spans(data))

    def spans(self, data: TracesData) -> bytes:
        """The spans of a chunk, with the comma before them where there is one."""
        joined = b",".join(map(self._dump, spans_to_v1(data, self._processes)))
        if self._first:
            self._first = False
            return joined
        return b"," + joined

    def end(self) -> bytes:
        processes, warnings = self._dump(self._processes.shown), self._dump(list(self._warnings) or None)
        return b'],"processes":%s,"warnings":%s}' % (processes, warnings)


async def _shortly(spans: int, make: Callable[[], bytes]) -> bytes:
    """What the function makes, off the event loop where it takes long."""
    return make() if spans <= _SMALL else await asyncio.to_thread(make)


def _count(data: TracesData) -> int:
    return sum(len(scope.spans) for one in data.resource_spans for scope in one.scope_spans)


class JsonStream(Response):
    """An answer in pieces, of which the first is there already: what fails before it has a status of its own."""

    def __init__(self, request: Request, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        super().__init__(media_type=JSON)
        del self.headers["content-length"]
        self._request = request
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not scope.get(IS_HEAD):
                await send({"type": "http.response.body", "body": self._first, "more_body": True})
                async for piece in self._rest:
                    if await self._request.is_disconnected():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
