"""What was observed: logs, metrics, health, performance, traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, TypeVar

import asyncpg
from fastapi import APIRouter, Depends, Query, Response

from ares_otel.api import examples, models
from ares_otel.api.answers import ok
from ares_otel.api.parameters import (
    HealthParameters,
    LogParameters,
    MetricParameters,
    PerformanceParameters,
    SpanParameters,
    TraceId,
    TraceParameters,
    check_hours,
    check_order,
    each_once,
    hours_before,
)
from ares_otel.api.problems import TRACE_NOT_FOUND, FieldError, InvalidParameters, problem
from ares_otel.api.rendering import (
    json_response,
    render_health,
    render_log,
    render_metric,
    render_operation,
    render_span,
    render_time,
    render_trace,
)
from ares_otel.model.clock import Clock
from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import Instant
from ares_otel.query.logs import LogFilter, find_logs
from ares_otel.query.metrics import MetricFilter, find_metrics
from ares_otel.query.services import service_performance, system_health
from ares_otel.query.span_cursor import SpanCursor
from ares_otel.query.spans import SpanFilter, find_spans
from ares_otel.query.traces import Trace, find_trace

DEFAULT_HOURS = 1.0
_Cursor = TypeVar("_Cursor", Cursor, SpanCursor)


def observability_router(pool: asyncpg.Pool, clock: Clock) -> APIRouter:
    """The endpoints under `/api/v1/observability`."""
    router = APIRouter(prefix="/api/v1/observability", tags=["observability"], dependencies=[Depends(each_once)])

    @router.get("/logs", summary="Log records, newest first", responses=ok(models.LogPage, examples.LOGS))
    async def logs(query: Annotated[LogParameters, Query()]) -> Response:
        """Rows of `service_logs` for which all filters hold, page by page."""
        check_order(query.start, query.end)
        wanted = LogFilter(query.service, query.level, query.trace_id, query.q, query.start, query.end)
        after = _cursor(query.cursor, "logs")
        page = await find_logs(pool, wanted, limit=query.limit, after=after, now=_now(clock))
        return json_response({"logs": [render_log(row) for row in page.rows], "next": page.next and page.next.encode()})

    @router.get("/spans", summary="Spans, newest first", responses=ok(models.SpanPage, examples.SPANS))
    async def spans(query: Annotated[SpanParameters, Query()]) -> Response:
        """Rows of `service_spans` for which all filters hold, page by page. A search that could not look at everything
        in its time says so by `truncated`, and `next` goes on where it stopped."""
        check_order(query.start, query.end)
        after = None if query.cursor is None else _read(SpanCursor.decode, query.cursor)
        page = await find_spans(pool, _span_filter(query, clock), limit=query.limit, after=after, now=_now(clock))
        return json_response(
            {
                "spans": [render_span(row) for row in page.rows],
                "next": page.next and page.next.encode(),
                "truncated": page.truncated,
            }
        )

    @router.get(
        "/metrics", summary="Metric data points, newest first", responses=ok(models.MetricPage, examples.METRICS)
    )
    async def metrics(query: Annotated[MetricParameters, Query()]) -> Response:
        """Rows of `service_metrics` for which all filters hold, page by page. Of distributions (histograms, summaries)
        `metric_value` is the mean of the point."""
        check_order(query.start, query.end)
        wanted = MetricFilter(_window_start(query, clock), query.end, query.service, query.metric)
        after = _cursor(query.cursor, "metrics")
        page = await find_metrics(pool, wanted, limit=query.limit, after=after, now=_now(clock))
        return json_response(
            {"metrics": [render_metric(row) for row in page.rows], "next": page.next and page.next.encode()}
        )

    @router.get("/health", summary="Which services are well", responses=ok(models.Health, examples.HEALTH))
    async def health(query: Annotated[HealthParameters, Query()]) -> Response:
        """Rows like those of `v_system_health`, by name, from roll-ups: logs from the minute `since` on.
        `active_traces` is exact up to some hundred traces, beyond that an estimate (standard error at most 4.4 %)."""
        listing = await system_health(pool, exact=query.exact)
        return json_response(
            {
                "services": [render_health(row) for row in listing.rows],
                "since": render_time(listing.since),
                "exact": query.exact,
                "truncated": listing.truncated,
            }
        )

    @router.get(
        "/performance",
        summary="How fast each operation is",
        responses=ok(models.Performance, examples.PERFORMANCE),
    )
    async def performance(query: Annotated[PerformanceParameters, Query()]) -> Response:
        """Rows like those of `v_service_performance`, by service, most calls first, from roll-ups: spans from the
        minute `since` on. Counts are exact; percentiles are at most 0.55 % away from the exact ones. Names of
        operations are cut to 255 characters."""
        listing = await service_performance(pool, query.service, exact=query.exact)
        return json_response(
            {
                "operations": [render_operation(row) for row in listing.rows],
                "since": render_time(listing.since),
                "exact": query.exact,
                "truncated": listing.truncated,
            }
        )

    @router.get("/trace/{trace_id}", summary="One trace with its logs", responses=ok(models.Trace, examples.TRACE))
    async def trace(trace_id: TraceId, query: Annotated[TraceParameters, Query()]) -> Response:
        """The spans of a trace in tree order, its logs, and what they say together. A trace that has only logs, or only
        spans, is a trace as well; an id that neither has is 404."""
        check_order(query.start, query.end)
        found = await find_trace(pool, trace_id, start=query.start, end=query.end, now=_now(clock))
        if found is None:
            return problem(TRACE_NOT_FOUND, f"No span and no log record has the trace id {trace_id.hex}.")
        # A large trace takes longer than the event loop may stand still.
        return await asyncio.to_thread(_trace_response, found)

    return router


def _trace_response(trace: Trace) -> Response:
    return json_response(render_trace(trace))


def _now(clock: Clock) -> datetime:
    return Instant.from_ns(clock.time_ns()).time


def _cursor(text: str | None, of: str) -> Cursor | None:
    return None if text is None else _read(lambda given: Cursor.decode(given, of), text)


def _read(decode: Callable[[str], _Cursor], text: str) -> _Cursor:
    try:
        return decode(text)
    except ValueError as error:
        raise InvalidParameters(FieldError("cursor", f"The value {error}.")) from None


def _span_filter(query: SpanParameters, clock: Clock) -> SpanFilter:
    check_hours(query.hours, query.start, query.end)
    start = query.start if query.hours is None else Instant.from_ns(clock.time_ns()).minus_hours(query.hours)
    return SpanFilter(
        query.service,
        query.operation,
        query.kind,
        query.status,
        query.min_duration_ms,
        query.max_duration_ms,
        query.attr,
        start,
        query.end,
        keep_start=query.hours is not None,
    )


def _window_start(query: MetricParameters, clock: Clock) -> Instant:
    """`from`; else `hours` before now; else an hour before `to`, or before now."""
    check_hours(query.hours, query.start, query.end)
    if query.start is not None:
        return query.start
    end = query.end if query.end is not None else Instant.from_ns(clock.time_ns())
    return hours_before(DEFAULT_HOURS if query.hours is None else query.hours, end)
