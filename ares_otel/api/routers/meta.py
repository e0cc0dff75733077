"""What Ares says about itself: alive, ready, its own metrics."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from ares_otel.api import models
from ares_otel.api.problems import NOT_READY, RETRY_SECONDS, problem
from ares_otel.api.rendering import json_response

ReadyCheck = Callable[[], Awaitable[list[str]]]
"""Gives the reasons why Ares cannot serve now, as sentences; none when it can."""


class Figures(Protocol):
    """Own metrics, as `prometheus_client` writes them out."""

    def collect(self) -> Iterable[Metric]: ...


Gather = Callable[[], Awaitable[Figures]]
"""Asks every process of this Ares for its metrics."""

_log = logging.getLogger(__name__)


def meta_router(registry: CollectorRegistry, ready: ReadyCheck, gather: Gather | None = None) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`. Without `gather`, that shows the registry alone."""
    router = APIRouter(tags=["meta"])

    @router.get(
        "/healthz",
        summary="Is the process alive",
        responses={200: {"model": models.Alive, "content": {"application/json": {"example": {"status": "alive"}}}}},
    )
    async def healthz() -> Response:
        """200 as long as the process answers at all, whatever the database does."""
        return json_response({"status": "alive"})

    @router.get(
        "/readyz",
        summary="Can it serve",
        responses={200: {"model": models.Ready, "content": {"application/json": {"example": {"status": "ready"}}}}},
    )
    async def readyz() -> Response:
        """200 when everything that is needed is there, else 503 with the reasons."""
        try:
            reasons = await ready()
        except Exception:
            _log.exception("The check of readiness failed")
            reasons = ["The check of readiness failed; Ares's log has the reason."]
        if not reasons:
            return json_response({"status": "ready"})
        return problem(NOT_READY, " ".join(reasons), headers={"Retry-After": str(RETRY_SECONDS)})

    @router.get(
        "/metrics",
        summary="Ares's own metrics",
        response_class=Response,
        responses={
            200: {
                "description": "Prometheus text format, or OpenMetrics when the Accept header asks for it",
                "content": {
                    "text/plain": {
                        "example": "# HELP ares_otel_writer_commits_total Committed transactions of the writer\n"
                        "# TYPE ares_otel_writer_commits_total counter\nares_otel_writer_commits_total 42.0\n"
                    }
                },
            }
        },
    )
    async def own_metrics(request: Request) -> Response:
        """For a Prometheus server to scrape."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        figures: Any = registry if gather is None else await gather()
        return Response(encode(figures), headers={"Content-Type": content_type, "Vary": "Accept"})

    return router
