"""The paths of Jaeger's HTTP API of version 1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ares_otel.api.jaeger.v1_envelope import BadParameter, answer, envelope, error
from ares_otel.api.jaeger.v1_metrics import KINDS, Metrics
from ares_otel.api.jaeger.v1_traces import NOT_FOUND, Traces, id_in_path
from ares_otel.api.jaeger.v1_transform import Transform
from ares_otel.api.jaeger.v1_values import Values, one_of
from ares_otel.query.pinned import PinRefused, pin_trace
from ares_otel.query.rollups import MAX_ROWS
from ares_otel.query.service_map import dependencies, find_operations, find_services

_TRUNCATED = "There are more than an answer may hold; these are the first by name."
_DAY = timedelta(days=1)
_LONGEST = timedelta(days=3_650)

_FEWER = "There are more than an answer may hold; these are those with the most calls. Give a shorter lookback."

Endpoint = Callable[[Request], Awaitable[Response]]


def v1_routes(pool: asyncpg.Pool, *, max_skew_ns: int) -> list[Route]:
    """The routes below `/api`."""
    traces, metrics, transform, lists = Traces(pool, max_skew_ns), Metrics(pool), Transform(max_skew_ns), Lists(pool)
    get: list[tuple[str, Endpoint]] = [
        ("/services", lists.services),
        ("/services/{service:path}/operations", lists.operations_of_service),
        ("/operations", lists.operations),
        ("/traces", traces.many),
        ("/traces/{trace_id:path}", traces.one),
        ("/dependencies", lists.dependencies),
        ("/metrics/latencies", metrics.latencies),
        ("/metrics/calls", metrics.calls),
        ("/metrics/errors", metrics.errors),
        ("/metrics/minstep", metrics.minstep),
    ]
    post: list[tuple[str, Endpoint]] = [("/archive/{trace_id:path}", lists.archive), ("/transform", transform)]
    return [
        *(Route(f"/api{path}", _plain(endpoint), methods=["GET"]) for path, endpoint in get),
        *(Route(f"/api{path}", _plain(endpoint), methods=["POST"]) for path, endpoint in post),
    ]


def _plain(endpoint: Endpoint) -> Endpoint:
    """A function, which is what a route wants, whose wrong parameters are answered 400."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BadParameter as wrong:
            return error(400, str(wrong))

    return answered


class Lists:
    """Services, operations, who calls whom, and the archive."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def services(self, request: Request) -> Response:
        """`GET /api/services`: names."""
        rows, truncated = await find_services(self._pool)
        return answer(request, envelope([row.service_name for row in rows], errors=_told(truncated)))

    async def operations_of_service(self, request: Request) -> Response:
        """`GET /api/services/{service}/operations`: names, each once."""
        service = request.path_params["service"]
        if "\0" in service:
            raise BadParameter("service", "must not hold the character NUL")
        rows, truncated = await find_operations(self._pool, service)
        names = list(dict.fromkeys(row.operation_name for row in rows))
        return answer(request, envelope(names, errors=_told(truncated)))

    async def operations(self, request: Request) -> Response:
        """`GET /api/operations?service=&spanKind=`: names with kinds."""
        values = Values(request.query_params)
        service, kind = values.text("service"), values.text("spanKind")
        if service is None:
            raise BadParameter("service", "must be given")
        wanted = None if kind is None else one_of("spanKind", kind.lower(), KINDS)
        rows, truncated = await find_operations(self._pool, service)
        data = [
            {"name": row.operation_name, "spanKind": "" if row.kind == "unspecified" else row.kind}
            for row in rows
            if wanted is None or row.kind == wanted
        ]
        return answer(request, envelope(data, errors=_told(truncated)))

    async def dependencies(self, request: Request) -> Response:
        """`GET /api/dependencies?endTs=&lookback=&service=`: calls between services."""
        values = Values(request.query_params)
        end = values.millis("endTs", datetime.now(UTC))
        lookback = values.length("lookback", _DAY, high=_LONGEST)
        service = values.text("service")
        try:
            start = end - lookback
        except OverflowError:
            start = datetime(1970, 1, 1, tzinfo=UTC)
        calls: dict[tuple[str, str], int] = {}
        found = await dependencies(self._pool, start, end)
        for one in found:
            if service is None or service in (one.parent, one.child):
                calls[one.parent, one.child] = calls.get((one.parent, one.child), 0) + one.call_count
        data = [{"parent": parent, "child": child, "callCount": count} for (parent, child), count in calls.items()]
        told = [{"msg": _FEWER}] if len(found) >= MAX_ROWS else []
        return answer(request, envelope(data, errors=told))

    async def archive(self, request: Request) -> Response:
        """`POST /api/archive/{trace_id}`: the trace survives retention."""
        try:
            pinned = await pin_trace(self._pool, id_in_path(request), None)
        except PinRefused as refused:
            return error(409, str(refused))
        if pinned is None:
            return error(404, NOT_FOUND)
        return answer(request, {**envelope([]), "errors": []})


def _told(truncated: bool) -> list[dict[str, str]]:
    return [{"msg": _TRUNCATED}] if truncated else []
