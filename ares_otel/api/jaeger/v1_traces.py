"""Traces over Jaeger's HTTP API of version 1: by id, by several ids, by search."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from ares_otel.api.jaeger.trace_ids import parse_trace_id
from ares_otel.api.jaeger.v1_envelope import BadParameter, answer, dumps, envelope, error
from ares_otel.api.jaeger.v1_search import near, parse_search
from ares_otel.api.jaeger.v1_span import trace_id_v1
from ares_otel.api.jaeger.v1_stream import JsonStream, TraceReader
from ares_otel.api.jaeger.v1_values import Values
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import Refused

NOT_FOUND = "trace not found"
"""In Jaeger's words: clients look for them."""
_INCOMPLETE = (
    "The search ended when its time was over: there may be more traces. Narrow the time range, or name a service."
)


class Traces:
    """The endpoints that answer with traces."""

    def __init__(self, pool: asyncpg.Pool, max_skew_ns: int) -> None:
        self._pool = pool
        self._max_skew_ns = max_skew_ns

    async def one(self, request: Request) -> Response:
        """`GET /api/traces/{trace_id}?raw=&start=&end=`. `start` and `end` say about where it is."""
        values = Values(request.query_params)
        trace_id = id_in_path(request)
        start, end = values.micros("start"), values.micros("end")
        if start is not None and end is not None and start > end:
            raise BadParameter("start", "must not be later than the parameter end")
        reader = self._reader(request, values.boolean("raw"), *near(start, end))
        missing: list[UUID] = []
        pieces = _data(reader, [trace_id], missing, partial(dumps, request))
        first = await anext(pieces)
        if missing:
            await pieces.aclose()
            return error(404, NOT_FOUND)
        return JsonStream(request, first, pieces)

    async def many(self, request: Request) -> Response:
        """`GET /api/traces`: several by `traceID`, or a search."""
        search = parse_search(Values(request.query_params), datetime.now(UTC))
        ids: Sequence[UUID] = search.trace_ids
        errors: list[dict[str, Any]] = []
        if ids:
            reader = self._reader(request, search.raw, *search.near)
        else:
            reader = self._reader(request, search.raw, None, None)
            try:
                found = await find_traces(self._pool, search.query)
            except Refused as refused:
                return error(400, str(refused))
            ids = [trace.trace_id for trace in found]
            if not found.complete:
                errors.append({"msg": _INCOMPLETE})
        if not ids:
            return answer(request, envelope([], limit=search.query.limit, errors=errors))
        limit = 0 if search.trace_ids else search.query.limit
        pieces = _data(reader, ids, [], partial(dumps, request), limit=limit, errors=errors)
        return JsonStream(request, await anext(pieces), pieces)

    def _reader(self, request: Request, raw: bool, start: Any, end: Any) -> TraceReader:
        return TraceReader(self._pool, self._max_skew_ns, partial(dumps, request), raw, start, end)


def id_in_path(request: Request) -> UUID:
    """The trace id that the path names. Raises BadParameter."""
    try:
        return parse_trace_id(request.path_params["trace_id"])
    except ValueError as wrong:
        raise BadParameter("traceID", str(wrong)) from None


async def _data(
    reader: TraceReader,
    ids: Sequence[UUID],
    missing: list[UUID],
    dump: Any,
    *,
    limit: int = 0,
    errors: Sequence[dict[str, Any]] = (),
) -> AsyncGenerator[bytes, None]:
    """The envelope with the traces of these ids, in this order. Those that are not there become `missing`, and errors
    at the end; the first piece comes when it is known whether the first trace is there."""
    shown = 0
    opened = False
    for trace_id in ids:
        empty = True
        pieces = reader.pieces(trace_id)
        async with aclosing(pieces):
            async for piece in pieces:
                if empty:
                    piece = (b"," if shown else b"" if opened else b'{"data":[') + piece
                    shown += 1
                    empty, opened = False, True
                yield piece
        if empty:
            missing.append(trace_id)
    told = [*errors, *({"msg": NOT_FOUND, "traceID": trace_id_v1(one.bytes)} for one in missing)]
    tail = dump(envelope(None, total=shown, limit=limit, errors=told))
    rest = tail[tail.index(b'"total"') :]
    yield (b"" if opened else b'{"data":[') + b"]," + rest
