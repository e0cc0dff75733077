"""`/prometheus/federate`: the newest samples of stored series, for a Prometheus server that takes some of them over.

Errors are text, and parameters that nobody knows are passed over, as in Prometheus.
"""

from __future__ import annotations

import asyncio

import asyncpg
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from ares_otel.api.held_answers import held_answer, take_turn
from ares_otel.api.leaving import CLIENT_GONE, ClientGone, unless_gone
from ares_otel.control.config.schema import ARES
from ares_otel.model.clock import Clock
from ares_otel.model.prometheus.negotiation import OPENMETRICS_TYPE, Format, accepts_gzip, choose_format
from ares_otel.model.prometheus.selector import InvalidSelector, Selector, parse_selector
from ares_otel.query.prometheus.federate import MAX_SERIES, federate
from ares_otel.query.prometheus.select import TooManySamples, TooManySeries

MAX_SELECTORS = 100
_AT_ONCE = 2
TURN_SECONDS = 15.0
"""How long a request waits for its turn."""


def federate_router(pool: asyncpg.Pool, clock: Clock) -> APIRouter:
    """The endpoint; docs/prometheus-series.md documents it, for Prometheus has no use for OpenAPI."""
    router = APIRouter()
    turns = asyncio.Semaphore(_AT_ONCE)

    @router.get("/prometheus/federate", include_in_schema=False)
    async def federated(request: Request) -> Response:
        texts = request.query_params.getlist("match[]")
        if not texts:
            return _error("no match[] parameter provided", 400)
        if len(texts) > MAX_SELECTORS:
            return _error(f"match[] is given {len(texts)} times; give it {MAX_SELECTORS} times at most.", 400)
        try:
            selectors = [_selector(text) for text in texts]
        except InvalidSelector as error:
            return _error(str(error), 400)
        format_ = _format(request.headers.get("accept", ""))
        await take_turn(turns, TURN_SECONDS)
        try:
            now_ms = clock.time_ns() // 1_000_000
            made = await unless_gone(request.receive, federate(pool, selectors, format_, own=ARES, now_ms=now_ms))
        except BaseException as error:
            turns.release()
            if isinstance(error, ClientGone):
                return _error(str(error), CLIENT_GONE)
            if not isinstance(error, TooManySeries | TooManySamples):
                raise
            return _error(f"{error.message} One answer has at most {MAX_SERIES} series.", 422)
        headers = {"Content-Type": format_.content_type, "Vary": "Accept, Accept-Encoding"}
        return held_answer(turns, made, headers, gzip=accepts_gzip(request.headers.get("accept-encoding", "")))

    return router


def _selector(text: str) -> Selector:
    """Raises InvalidSelector."""
    try:
        return parse_selector(text)
    except InvalidSelector as error:
        raise InvalidSelector(f"The match[] {text[:200]!r} {error}.") from None


def _format(accept: str) -> Format:
    """Text or messages: like Prometheus it does not federate in OpenMetrics."""
    return choose_format(",".join(clause for clause in accept.split(",") if OPENMETRICS_TYPE not in clause.lower()))


def _error(message: str, status: int) -> Response:
    return PlainTextResponse(f"{message}\n", status)
