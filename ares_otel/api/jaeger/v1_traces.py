"""Traces over Jaeger's HTTP API of version 1: by id, by several ids, by search."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from ares_otel.api.jaeger.trace_ids import parse_trace_id
from ares_otel.api.jaeger.trace_reading import TraceReading
from ares_otel.api.jaeger.v1_envelope import BadParameter, answer, dumps, envelope, error
from ares_otel.api.jaeger.v1_search import between, parse_search
from ares_otel.api.jaeger.v1_span import trace_id_v1
from ares_otel.api.jaeger.v1_stream import JsonStream, trace_pieces
from ares_otel.api.jaeger.v1_values import Values
from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Refused
from ares_otel.query.search.find import find_traces

NOT_FOUND = "trace not found"
"""In Jaeger's words: clients look for them."""
_INCOMPLETE = (
    "The search ended when its time was over: there may be more traces. Narrow the time range, or name a service."
)


class Traces:
    """The endpoints that answer with traces."""

    def __init__(self, pool: asyncpg.Pool, max_skew_ns: int) -> None:
        self._pool = pool
        self._reading = TraceReading(pool, max_skew_ns=max_skew_ns)

    async def one(self, request: Request) -> Response:
        """`GET /api/traces/{trace_id}?raw=&start=&end=`. With `start` and `end` only a trace that has a span there."""
        values = Values(request.query_params)
        trace_id = id_in_path(request)
        where = between(values.micros("start"), values.micros("end"))
        missing: list[UUID] = []
        pieces = self._data(request, [trace_id], missing, *where, raw=values.boolean("raw"))
        first = await anext(pieces)
        if missing:
            await pieces.aclose()
            return error(404, NOT_FOUND)
        return JsonStream(request, first, pieces)

    async def many(self, request: Request) -> Response:
        """`GET /api/traces`: several by `traceID`, or a search."""
        search = parse_search(Values(request.query_params), datetime.now(UTC))
        if search.trace_ids:
            pieces = self._data(request, search.trace_ids, [], *search.where, raw=search.raw)
            return JsonStream(request, await anext(pieces), pieces)
        try:
            found = await find_traces(self._pool, search.query)
        except Refused as refused:
            return error(400, str(refused))
        errors = [] if found.complete else [{"code": 503, "msg": _INCOMPLETE}]
        limit = search.query.limit
        if not found:
            return answer(request, envelope([], limit=limit, errors=errors))
        near = {trace.trace_id: (trace.start, trace.end) for trace in found}
        pieces = self._data(request, list(near), [], near=near, raw=search.raw, limit=limit, errors=errors)
        return JsonStream(request, await anext(pieces), pieces)

    async def _data(
        self,
        request: Request,
        ids: Sequence[UUID],
        missing: list[UUID],
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        raw: bool,
        near: Mapping[UUID, tuple[Instant, Instant]] = MappingProxyType({}),
        limit: int = 0,
        errors: Sequence[dict[str, Any]] = (),
    ) -> AsyncGenerator[bytes, None]:
        """The envelope with the traces of these ids, in this order. Those that are not there become `missing`, and
        errors at the end; the first piece comes when it is known whether any trace is there."""
        dump = partial(dumps, request)
        shown = 0
        for trace_id in ids:
            empty = True
            pieces = trace_pieces(self._reading.trace(trace_id, start, end, near=near.get(trace_id), raw=raw), dump)
            async with aclosing(pieces):
                async for piece in pieces:
                    if empty:
                        yield (b"," if shown else b'{"data":[') + piece
                        shown += 1
                        empty = False
                    else:
                        yield piece
            if empty:
                missing.append(trace_id)
        told = [*errors, *({"code": 404, "msg": NOT_FOUND, "traceID": trace_id_v1(one.bytes)} for one in missing)]
        tail = dump(envelope(None, total=shown, limit=limit, errors=told))
        yield (b"" if shown else b'{"data":[') + b"]," + tail[tail.index(b'"total"') :]


def id_in_path(request: Request) -> UUID:
    """The trace id that the path names. Raises BadParameter."""
    try:
        return parse_trace_id(request.path_params["trace_id"])
    except ValueError as wrong:
        raise BadParameter("traceID", str(wrong)) from None
