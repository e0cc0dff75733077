"""Services that send spans: which there are, what they do, and who calls what."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Path, Query, Response

from ares_otel.api import service_models
from ares_otel.api.answers import ok
from ares_otel.api.parameters import (
    NoParameters,
    ServiceMapParameters,
    ServiceName,
    check_hours,
    check_order,
    each_once,
    hours_before,
)
from ares_otel.api.rendering import json_response, render_time
from ares_otel.query.ranges import time_of
from ares_otel.query.rows import EdgeRow, NodeRow, OperationSeen, ServiceSummary
from ares_otel.query.service_map import ServiceMap, find_operations, find_services, service_map

DEFAULT_HOURS = 1.0


def services_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoints `services`, `services/{name}/operations` and `service-map`."""
    router = APIRouter(prefix="/api/v1/observability", tags=["observability"], dependencies=[Depends(each_once)])

    @router.get(
        "/services",
        summary="Services that sent spans",
        responses=ok(service_models.ServiceList, service_models.SERVICES),
    )
    async def services_with_spans(_: Annotated[NoParameters, Query()]) -> Response:
        """Every service of which spans are kept, by name, from roll-ups."""
        rows, truncated = await find_services(pool)
        return json_response({"services": [render_service(row) for row in rows], "truncated": truncated})

    @router.get(
        "/services/{service_name:path}/operations",
        summary="Operations of a service",
        responses=ok(service_models.OperationList, service_models.OPERATIONS),
    )
    async def operations(
        service_name: Annotated[ServiceName, Path(description="Exact name of the service.")],
        _: Annotated[NoParameters, Query()],
    ) -> Response:
        """What a service does, by name and kind, from roll-ups; nothing for a service that is not known."""
        rows, truncated = await find_operations(pool, service_name)
        return json_response(
            {
                "service_name": service_name,
                "operations": [render_operation(row) for row in rows],
                "truncated": truncated,
            }
        )

    @router.get("/service-map", summary="Who calls what", responses=ok(service_models.ServiceMap, service_models.MAP))
    async def edges(query: Annotated[ServiceMapParameters, Query()]) -> Response:
        """Services, databases, queues and whatever else was called, and the calls between them, most calls first. A
        minute counts as soon as it was looked at, some seconds after its end; `until` says how far that is."""
        check_order(query.start, query.end)
        check_hours(query.hours, query.start, query.end)
        start = query.start
        if start is None and query.end is not None:
            start = hours_before(DEFAULT_HOURS, query.end)
        hours = DEFAULT_HOURS if query.hours is None else query.hours
        found = await service_map(pool, hours, service=query.service, start=time_of(start), end=time_of(query.end))
        # Thousands of edges take longer than the event loop may stand still.
        return await asyncio.to_thread(_map_response, found) if len(found.edges) > 500 else _map_response(found)

    return router


def _map_response(found: ServiceMap) -> Response:
    return json_response(
        {
            "nodes": [render_node(row) for row in found.nodes],
            "edges": [render_edge(row) for row in found.edges],
            "since": render_time(found.since),
            "until": render_time(found.until),
            "truncated": found.truncated,
        }
    )


def render_service(row: ServiceSummary) -> dict[str, Any]:
    """A service as JSON."""
    return {
        "service_name": row.service_name,
        "operations": row.operations,
        "first_seen": render_time(row.first_seen),
        "last_seen": render_time(row.last_seen),
    }


def render_operation(row: OperationSeen) -> dict[str, Any]:
    """An operation as JSON."""
    return {
        "operation_name": row.operation_name,
        "kind": row.kind,
        "first_seen": render_time(row.first_seen),
        "last_seen": render_time(row.last_seen),
    }


def render_node(row: NodeRow) -> dict[str, Any]:
    """A node as JSON."""
    return {
        "name": row.name,
        "type": row.type,
        "calls": row.calls,
        "errors": row.errors,
        "avg_duration_ms": row.avg_duration_ms,
    }


def render_edge(row: EdgeRow) -> dict[str, Any]:
    """An edge as JSON."""
    return {
        "parent_service": row.parent_service,
        "child_service": row.child_service,
        "child_type": row.child_type,
        "connection_type": row.connection_type,
        "calls": row.calls,
        "errors": row.errors,
        "avg_duration_ms": row.avg_duration_ms,
        "destinations": sorted(row.destinations),
    }
