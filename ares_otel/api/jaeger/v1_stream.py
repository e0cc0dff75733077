"""Traces as JSON of version 1, piece by piece: however large one is, memory holds a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ares_otel.api.envelope import IS_HEAD
from ares_otel.api.jaeger.adjust import TOO_LARGE
from ares_otel.api.jaeger.trace_reading import span_count
from ares_otel.api.jaeger.v1_envelope import JSON
from ares_otel.api.jaeger.v1_trace import Processes, spans_to_v1

_SMALL = 50
"""Spans that are turned into JSON on the spot; a thread costs more."""

Dump = Callable[[Any], bytes]


async def trace_pieces(chunks: AsyncGenerator[TracesData, None], dump: Dump) -> AsyncGenerator[bytes, None]:
    """The JSON of one trace in pieces; none for no chunks. Raises as the chunks do."""
    made = TraceMaker(dump)
    async with aclosing(chunks):
        async for chunk in chunks:
            few = span_count(chunk) <= _SMALL
            yield made.add(chunk) if few else await asyncio.to_thread(made.add, chunk)
    if made.begun:
        yield made.end()


def whole_trace(data: TracesData, dump: Dump) -> bytes:
    """The JSON of one trace, which has spans."""
    made = TraceMaker(dump)
    return made.add(data) + made.end()


class TraceMaker:
    """A trace's JSON, chunk by chunk: its processes come last, when all of them are known."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        self._processes = Processes()
        self._warnings: list[str] | None = None
        self.begun = False

    def add(self, data: TracesData) -> bytes:
        """The spans of a chunk, with what comes before them."""
        spans = spans_to_v1(data, self._processes)
        if self.begun:
            return b"," + b",".join(map(self._dump, spans))
        first = next(spans)
        self.begun = True
        if TOO_LARGE in (first["warnings"] or ()):
            self._warnings = [TOO_LARGE]  # it is about the trace; the span carries it for who knows spans only
        head = b'{"traceID":"%s","spans":[' % first["traceID"].encode()
        return head + b",".join((self._dump(first), *map(self._dump, spans)))

    def end(self) -> bytes:
        """What comes after the spans."""
        return b'],"processes":%s,"warnings":%s}' % (self._dump(self._processes.shown), self._dump(self._warnings))


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
