"""REST: what clients of a service are told, since when, and from what load it follows."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from ares_otel.api.answers import ok
from ares_otel.api.parameters import NoParameters, ServiceName, each_once
from ares_otel.api.rendering import json_response, render_time
from ares_otel.api.sampling import models
from ares_otel.api.sampling.app import MOUNTED, SamplingEndpoint
from ares_otel.control.sampling.facts import Change, Measured, find_changes, find_measured

MOST_CHANGES = 100


def sampling_router(pool: asyncpg.Pool, endpoint: SamplingEndpoint) -> APIRouter:
    """The endpoint `/api/v1/sampling/{service_name}`, and the protocol below `/jaeger`."""
    router = APIRouter(tags=["sampling"])
    strategies = endpoint.strategies

    @router.get(MOUNTED, include_in_schema=False)
    async def sampling_protocol(request: Request) -> Response:
        return await endpoint(request)

    @router.get(
        "/api/v1/sampling/{service_name:path}",
        summary="How the traces of a service are sampled",
        responses=ok(models.ServiceSampling, models.EXAMPLE),
        dependencies=[Depends(each_once)],
    )
    async def service_sampling(
        service_name: Annotated[ServiceName, Path(description="Exact name of the service.")],
        _: Annotated[NoParameters, Query()],
    ) -> Response:
        """What clients with a remote sampler are told, where it comes from, and the loads that were counted. A service
        that nobody knows gets the default."""
        settings = strategies.settings
        wishes = settings.of(service_name)
        values = settings.values(service_name)
        strategy = await strategies.sampling_strategy(service_name)
        operations = await find_measured(pool, service_name) if wishes.adaptive else []
        changes = await find_changes(pool, service_name, MOST_CHANGES)
        return json_response(
            {
                "service_name": service_name,
                "source": "adaptive" if wishes.adaptive else "settings" if values else "default",
                "since": render_time(settings.changed_at(service_name)),
                "settings": values,
                "target_traces_per_second": wishes.target,
                "strategy": strategy.document(),
                "operations": [render_operation(one) for one in operations],
                "changes": [render_change(one) for one in changes],
            }
        )

    return router


def render_operation(one: Measured) -> dict[str, Any]:
    """An operation as JSON."""
    return {
        "operation_name": one.operation_name,
        "probability": one.probability,
        "since": render_time(one.changed_at),
        "sampled_per_second": one.sampled_per_second,
        "offered_per_second": one.offered_per_second,
        "measured_at": render_time(one.measured_at),
        "last_seen": render_time(one.last_seen),
    }


def render_change(one: Change) -> dict[str, Any]:
    """A change as JSON."""
    return {
        "operation_name": one.operation_name,
        "old_probability": one.old_probability,
        "new_probability": one.new_probability,
        "sampled_per_second": one.sampled_per_second,
        "offered_per_second": one.offered_per_second,
        "target_per_second": one.target_per_second,
        "changed_at": render_time(one.changed_at),
    }
