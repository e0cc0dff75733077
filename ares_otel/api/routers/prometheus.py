"""`/metrics/ingested`: what was ingested, for a Prometheus server to scrape."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ares_otel.api.parameters import each_once
from ares_otel.api.problems import TOO_MANY_SERIES, problem
from ares_otel.api.prometheus_parameters import IngestedParameters, wanted_of
from ares_otel.control.config.schema import ARES
from ares_otel.model.prometheus.negotiation import accepts_gzip, choose_format
from ares_otel.query.ingested import MAX_BYTES, MAX_SERIES, Exposition, TooManySeries, expose
from ares_otel.query.reader import DatabaseUnavailable

_AT_ONCE = 2
"""Answers that are made or sent at the same time: each may take `MAX_BYTES`, and more while it is made."""
TURN_SECONDS = 15.0
"""How long a request waits for its turn."""
_GZIP = 16 + zlib.MAX_WBITS


def prometheus_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoint; its parameters are documented in docs/prometheus.md, for Prometheus has no use for OpenAPI."""
    router = APIRouter(dependencies=[Depends(each_once)])
    turns = asyncio.Semaphore(_AT_ONCE)

    @router.get("/metrics/ingested", include_in_schema=False)
    async def ingested(request: Request, query: Annotated[IngestedParameters, Query()]) -> Response:
        format_ = choose_format(request.headers.get("accept", ""))
        wanted = wanted_of(query, format_)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turns.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("Other answers of this page are made or sent; try again in a moment.") from None
        try:
            made = await expose(pool, wanted, own=ARES)
        except BaseException as error:
            turns.release()
            if not isinstance(error, TooManySeries):
                raise
            return problem(
                TOO_MANY_SERIES,
                f"{error.message} One answer has at most {MAX_SERIES} series and {MAX_BYTES // 1024**2} MiB.",
            )
        headers = {"Content-Type": format_.content_type, "Vary": "Accept, Accept-Encoding"}
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return _Held(turns, _compressed(made), {**headers, "Content-Encoding": "gzip"})
        return _Held(turns, _plain(made), headers)

    return router


class _Held(StreamingResponse):
    """An answer that has its turn until it was sent, for it stands in memory until then."""

    def __init__(self, turns: asyncio.Semaphore, pieces: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(pieces, headers=headers)
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turns.release()


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
