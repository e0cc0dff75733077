"""`POST /api/transform`: OTLP in JSON becomes Jaeger's JSON, without a look at the database."""

from __future__ import annotations

import asyncio
from functools import partial

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ares_otel.api.bodies import read_body
from ares_otel.api.jaeger.adjust import MAX_SPANS, TOO_LARGE, adjust
from ares_otel.api.jaeger.trace_reading import span_count
from ares_otel.api.jaeger.v1_envelope import JSON, RETRY_SECONDS, dumps, envelope, error
from ares_otel.api.jaeger.v1_stream import Dump, whole_trace
from ares_otel.api.jaeger.warnings import add_warning
from ares_otel.model.errors import Rejected
from ares_otel.model.json_text import memory_estimate
from ares_otel.model.otlp_json_decode import decode

MAX_BODY = 16 * 1024 * 1024
MAX_MEMORY = 256 * 1024 * 1024
"""Bytes that the decoded body may take, by estimate."""


MAX_OPEN = 8
"""Bodies that are read or wait for their turn; one more is refused before it is read."""
_BUSY = "As many bodies as fit into memory are being worked on; send this one again in a moment."


class Transform:
    """One at a time: a body takes a multiple of its size while it is worked on."""

    def __init__(self, max_skew_ns: int) -> None:
        self._max_skew_ns = max_skew_ns
        self._turn = asyncio.Semaphore(1)
        self._open = 0

    async def __call__(self, request: Request) -> Response:
        """The traces of the body, in the order of their first spans."""
        if self._open >= MAX_OPEN:
            return error(503, _BUSY, headers={"Retry-After": str(RETRY_SECONDS)})
        self._open += 1
        try:
            return await self._answered(request)
        finally:
            self._open -= 1

    async def _answered(self, request: Request) -> Response:
        try:
            body = await read_body(request, MAX_BODY)
        except HTTPException as large:
            return error(large.status_code, str(large.detail))
        async with self._turn:
            return await asyncio.to_thread(self._transform, body, partial(dumps, request))

    def _transform(self, body: bytes, dump: Dump) -> Response:
        if memory_estimate(body) > MAX_MEMORY:
            return error(413, "The body holds too many values; send fewer spans at once.")
        try:
            data = decode(body, TracesData)
        except Rejected as wrong:
            return error(400, f"The body is no OTLP in JSON. {wrong.message}")
        traces = by_trace(data)
        for trace_id in traces:
            if len(trace_id) != 16:
                return error(400, "The body is no OTLP in JSON. A traceId is not 32 hexadecimal digits.")
        shown = [self._shown(trace, dump) for trace in traces.values()]
        tail = dump(envelope(None, total=len(shown)))
        rest = tail[tail.index(b'"total"') :]
        return Response(b'{"data":[%s],%s' % (b",".join(shown), rest), media_type=JSON)

    def _shown(self, trace: TracesData, dump: Dump) -> bytes:
        if span_count(trace) > MAX_SPANS:
            add_warning(trace.resource_spans[0].scope_spans[0].spans[0], TOO_LARGE)
            return whole_trace(trace, dump)
        return whole_trace(adjust(trace, max_skew_ns=self._max_skew_ns), dump)


def by_trace(data: TracesData) -> dict[bytes, TracesData]:
    """The traces by id, in the order of their first spans."""
    traces: dict[bytes, TracesData] = {}
    for container in data.resource_spans:
        containers: dict[bytes, ResourceSpans] = {}
        for scope in container.scope_spans:
            scopes: dict[bytes, ScopeSpans] = {}
            for span in scope.spans:
                trace_id = span.trace_id
                if trace_id not in scopes:
                    if trace_id not in containers:
                        made = traces.setdefault(trace_id, TracesData()).resource_spans.add()
                        made.resource.CopyFrom(container.resource)
                        made.schema_url = container.schema_url
                        containers[trace_id] = made
                    into = containers[trace_id].scope_spans.add()
                    into.scope.CopyFrom(scope.scope)
                    into.schema_url = scope.schema_url
                    scopes[trace_id] = into
                scopes[trace_id].spans.add().CopyFrom(span)
    return traces
