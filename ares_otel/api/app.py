"""The API as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.types import ASGIApp

from ares_otel.api import problems
from ares_otel.api.config_paths import ConfigPaths
from ares_otel.api.envelope import Envelope
from ares_otel.api.event_streams import EventStreams
from ares_otel.api.openapi import build_document
from ares_otel.api.routers.config import config_router
from ares_otel.api.routers.config import install as install_config
from ares_otel.api.routers.config_watch import config_watch_router
from ares_otel.api.routers.events import events_router
from ares_otel.api.routers.federate import federate_router
from ares_otel.api.routers.meta import Gather, ReadyCheck, meta_router
from ares_otel.api.routers.observability import observability_router
from ares_otel.api.routers.partitions import partitions_router
from ares_otel.api.routers.pinned import pinned_router
from ares_otel.api.routers.prometheus import prometheus_router
from ares_otel.api.routers.registry import registry_router
from ares_otel.api.routers.rejected import rejected_router
from ares_otel.api.routers.remote_read import RemoteReads, remote_read_router
from ares_otel.api.routers.services import services_router
from ares_otel.api.sampling.app import SamplingEndpoint
from ares_otel.api.sampling.router import sampling_router
from ares_otel.api.swagger import swagger_router
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config.service import ConfigService
from ares_otel.control.registry import Registry
from ares_otel.model.bus import TopicCount
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.query.partitions import Partitions

METRIC_WRITES = ("/prometheus/api/v1/write", "/prometheus/api/v1/otlp/v1/metrics")
"""Paths of remote write, and of OTLP where a sender appends its path to a Prometheus's address."""
_DESCRIPTION = """Logs, metrics and traces of every service that sends OTLP here.

Every error is `application/problem+json` (RFC 9457). Lists page by cursor: give `next` back as `cursor`.
Times are RFC 3339 in UTC, ids lower-case hex."""


def create_app(
    pool: asyncpg.Pool,
    *,
    version: str,
    registry: CollectorRegistry,
    ready: ReadyCheck,
    gather: Gather | None = None,
    clock: Clock = SYSTEM_CLOCK,
    service_registry: Registry | None = None,
    config: ConfigService | None = None,
    config_feed: ChangeFeed | None = None,
    event_streams: EventStreams | None = None,
    event_topics: Callable[[], Sequence[TopicCount]] = list,
    partitions: Partitions | None = None,
    jaeger: ASGIApp | None = None,
    sampling: SamplingEndpoint | None = None,
    remote_reads: RemoteReads | None = None,
    metric_writes: ASGIApp | None = None,
) -> FastAPI:
    """The REST API, Swagger UI, `/healthz`, `/readyz` and `/metrics`.

    Args:
        pool: connections for reads. The caller opens and closes it, and gives it a `statement_timeout`: a statement
            that the server stops is answered with 503 and the advice to narrow the time range.
        version: of Ares, for the OpenAPI document.
        registry: what `/metrics` shows.
        ready: gives the reasons why Ares cannot serve now, as sentences; an empty list when it can.
        gather: gives what `/metrics` shows instead of the registry, where several processes have a part of it.
        service_registry: for `/api/v1/registry`; without it there are no such paths.
        config: for `/api/v1/config`; without it there are no such paths.
        config_feed: for `/api/v1/config/{service_name}/watch`. The caller starts it, and stops it before it closes the
            door: that ends the streams.
        event_streams: for `/api/v1/events`; without it there are no such paths. The caller stops it before it closes
            the door: that ends the streams.
        event_topics: what was counted by topic.
        partitions: for `/api/v1/partitions`; without it there is no such path.
        jaeger: what is below `/jaeger`, Jaeger's HTTP APIs; see `jaeger.door`.
        sampling: for `/api/v1/sampling` and `/jaeger/api/sampling`; without it there are no such paths.
        remote_reads: what one may get, and who is told of it.
        metric_writes: what takes metrics at `METRIC_WRITES`; it answers every method.
    """
    app = FastAPI(
        title="Ares OTel",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.include_router(observability_router(pool, clock))
    app.include_router(services_router(pool))
    app.include_router(rejected_router(pool))
    app.include_router(pinned_router(pool))
    if service_registry is not None:
        app.include_router(registry_router(service_registry))
    if config_feed is not None:
        app.include_router(config_watch_router(config_feed))  # before the keys, of which `watch` would be one
    if config is not None:
        app.include_router(config_router(config))
        install_config(app)
    if event_streams is not None:
        app.include_router(events_router(event_streams, event_topics))
    if partitions is not None:
        app.include_router(partitions_router(partitions))
    if sampling is not None:
        app.include_router(sampling_router(pool, sampling))
    app.include_router(meta_router(registry, ready, gather))
    app.include_router(prometheus_router(pool))
    reads = remote_reads or RemoteReads()
    app.include_router(remote_read_router(pool, reads.limits, reads.observer))
    app.include_router(federate_router(pool, clock))
    app.include_router(swagger_router())
    if metric_writes is not None:
        app.router.routes += [Route(path, metric_writes, include_in_schema=False) for path in METRIC_WRITES]
    if jaeger is not None:
        app.add_route("/jaeger", _to_jaeger, include_in_schema=False)
        app.mount("/jaeger", jaeger, name="jaeger")
    problems.install(app)
    app.add_middleware(ConfigPaths)
    app.add_middleware(Envelope)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app, _DESCRIPTION)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _to_jaeger(request: Request) -> Response:
    """The page there has links that are relative."""
    return RedirectResponse("/jaeger/")
