"""Metrics of spans over Jaeger's HTTP API of version 1: what its monitor tab draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from ares_otel.api.jaeger.v1_envelope import BadParameter, answer, envelope, error
from ares_otel.api.jaeger.v1_tags import double
from ares_otel.api.jaeger.v1_values import Values, one_of
from ares_otel.api.rendering import render_time
from ares_otel.query.spm import MIN_STEP, Kind, OutOfRange, SpanMetrics, span_metrics

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_LONGEST = timedelta(days=3_650)
_MAX_SERVICES = 100


class Metrics:
    """The endpoints below `/api/metrics`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def latencies(self, request: Request) -> Response:
        """`GET /api/metrics/latencies?quantile=`: milliseconds."""
        return await self._family(request, "latencies")

    async def calls(self, request: Request) -> Response:
        """`GET /api/metrics/calls`: calls a second."""
        return await self._family(request, "calls")

    async def errors(self, request: Request) -> Response:
        """`GET /api/metrics/errors`: the part of the calls that failed, 0 to 1."""
        return await self._family(request, "errors")

    async def minstep(self, request: Request) -> Response:
        """`GET /api/metrics/minstep`: milliseconds."""
        return answer(request, envelope(MIN_STEP // timedelta(milliseconds=1)))

    async def _family(self, request: Request, kind: Kind) -> Response:
        values = Values(request.query_params)
        services = values.texts("service")
        if not services:
            raise BadParameter("service", "must be given, once for each service")
        if len(services) > _MAX_SERVICES:
            raise BadParameter("service", f"may be given {_MAX_SERVICES} times at most")
        kinds = [one_of("spanKind", text.lower(), KINDS) for text in values.texts("spanKind")]
        try:
            found = await span_metrics(
                self._pool,
                kind,
                services,
                quantile=values.number("quantile", 0.95, low=0, high=1),
                group_by_operation=values.boolean("groupByOperation"),
                end=values.millis("endTs", datetime.now(UTC)),
                lookback=values.length("lookback", timedelta(hours=1), high=_LONGEST),
                step=max(values.length("step", MIN_STEP, high=_LONGEST), MIN_STEP),
                rate_per=values.length("ratePer", timedelta(minutes=10), high=_LONGEST),
                span_kinds=kinds or ["server"],
            )
        except OutOfRange as wrong:
            return error(400, str(wrong))
        return answer(request, render_family(found))


def render_family(found: SpanMetrics) -> dict[str, Any]:
    """A MetricFamily of `jaeger.api_v2.metrics` in protobuf's JSON; a value that is no number is `"NaN"`."""
    return {
        "name": found.name,
        "type": "GAUGE",
        "help": found.help,
        "metrics": [
            {
                "labels": [{"name": name, "value": value} for name, value in series.labels.items()],
                "metricPoints": [
                    {"gaugeValue": {"doubleValue": double(point.value)}, "timestamp": render_time(point.at)}
                    for point in series.points
                ],
            }
            for series in found.series
        ],
    }
