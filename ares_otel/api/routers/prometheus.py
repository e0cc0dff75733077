"""`/metrics/ingested`: what was ingested, for a Prometheus server to scrape."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from ares_otel.api.parameters import each_once
from ares_otel.api.problems import TOO_MANY_SERIES, problem
from ares_otel.api.prometheus_parameters import IngestedParameters, wanted_of
from ares_otel.control.config.schema import ARES
from ares_otel.model.prometheus.negotiation import accepts_gzip, choose_format
from ares_otel.query.ingested import MAX_BYTES, MAX_SERIES, Exposition, TooManySeries, expose

_AT_ONCE = 2
"""Answers that are made at the same time: each may take `MAX_BYTES`."""
_GZIP = 16 + zlib.MAX_WBITS


def prometheus_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoint; its parameters are documented in docs/prometheus.md, for Prometheus has no use for OpenAPI."""
    router = APIRouter(dependencies=[Depends(each_once)])
    turns = asyncio.Semaphore(_AT_ONCE)

    @router.get("/metrics/ingested", include_in_schema=False)
    async def ingested(request: Request, query: Annotated[IngestedParameters, Query()]) -> Response:
        format_ = choose_format(request.headers.get("accept", ""))
        wanted = wanted_of(query, format_)
        async with turns:
            try:
                made = await expose(pool, wanted, own=ARES)
            except TooManySeries as error:
                return problem(
                    TOO_MANY_SERIES,
                    f"{error.message} One answer has at most {MAX_SERIES} series and {MAX_BYTES // 1024**2} MiB.",
                )
        headers = {"Content-Type": format_.content_type, "Vary": "Accept, Accept-Encoding"}
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return StreamingResponse(_compressed(made), headers={**headers, "Content-Encoding": "gzip"})
        return StreamingResponse(_plain(made), headers=headers)

    return router


async def _plain(made: Exposition) -> AsyncIterator[bytes]:
    pieces = made.chunks()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def _compressed(made: Exposition) -> AsyncIterator[bytes]:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    async for piece in _plain(made):
        if small := await asyncio.to_thread(squeeze.compress, piece):
            yield small
    yield squeeze.flush()
