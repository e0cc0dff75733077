"""`/metrics/ingested`: what was ingested, for a Prometheus server to scrape."""

from __future__ import annotations

import asyncio
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response

from ares_otel.api.held_answers import held_answer, take_turn
from ares_otel.api.leaving import CLIENT_GONE, ClientGone, unless_gone
from ares_otel.api.parameters import each_once
from ares_otel.api.problems import TOO_MANY_SERIES, problem
from ares_otel.api.prometheus_parameters import IngestedParameters, wanted_of
from ares_otel.control.config.schema import ARES
from ares_otel.model.prometheus.negotiation import accepts_gzip, choose_format
from ares_otel.query.ingested import MAX_BYTES, MAX_SERIES, TooManySeries, expose

_AT_ONCE = 2
"""Answers that are made or sent at the same time: each may take `MAX_BYTES`, and more while it is made."""
TURN_SECONDS = 15.0
"""How long a request waits for its turn."""


def prometheus_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoint; its parameters are documented in docs/prometheus.md, for Prometheus has no use for OpenAPI."""
    router = APIRouter(dependencies=[Depends(each_once)])
    turns = asyncio.Semaphore(_AT_ONCE)

    @router.get("/metrics/ingested", include_in_schema=False)
    async def ingested(request: Request, query: Annotated[IngestedParameters, Query()]) -> Response:
        format_ = choose_format(request.headers.get("accept", ""))
        wanted = wanted_of(query, format_)
        await take_turn(turns, TURN_SECONDS)
        try:
            made = await unless_gone(request.receive, expose(pool, wanted, own=ARES))
        except BaseException as error:
            turns.release()
            if isinstance(error, ClientGone):
                return Response(status_code=CLIENT_GONE)
            if not isinstance(error, TooManySeries):
                raise
            return problem(
                TOO_MANY_SERIES,
                f"{error.message} One answer has at most {MAX_SERIES} series and {MAX_BYTES // 1024**2} MiB.",
            )
        headers = {"Content-Type": format_.content_type, "Vary": "Accept, Accept-Encoding"}
        return held_answer(turns, made, headers, gzip=accepts_gzip(request.headers.get("accept-encoding", "")))

    return router
