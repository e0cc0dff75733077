"""The API over a test's database, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter

from ares_otel.api.app import create_app
from ares_otel.control.registry import Registry

ROOT = "/api/v1/observability"
ENDPOINTS = (
    *("logs", "spans", "metrics", "health", "performance", "trace/4bf92f3577b34da6a3ce929d0e0e4736"),
    *("rejected", "rejected/7", "services", "services/orders/operations", "service-map", "pinned"),
)


@dataclass
class Api:
    """What a test of the API needs."""

    app: FastAPI
    client: httpx.AsyncClient
    pool: asyncpg.Pool
    reasons: list[str] = field(default_factory=list)
    """What `/readyz` is told."""

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """GET of a path below `/api/v1/observability`; a parameter `from_` is sent as `from`."""
        params = {name.rstrip("_"): value for name, value in query.items()}
        return await self.client.get(f"{ROOT}/{path}", params=params)

    async def rows(self, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
        """The rows of a list, of an answer that must be 200."""
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()[name]
        return rows


@asynccontextmanager
async def running_api(database_url: str, *, with_registry: bool = False) -> AsyncIterator[Api]:
    """The API on a pool of the database, called in process; on demand with the service registry."""
    registry = CollectorRegistry()
    Counter("ares_otel_demo", "A counter of the test", registry=registry).inc(3)
    reasons: list[str] = []

    async def ready() -> list[str]:
        return reasons

    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as pool:
        services = Registry(pool, interval=lambda: 30.0) if with_registry else None
        app = create_app(pool, version="1.2.3", registry=registry, ready=ready, service_registry=services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            yield Api(app, client, pool, reasons)


def check_problem(answer: httpx.Response, status: int, *fields: str) -> dict[str, Any]:
    """Holds an answer against the one shape of errors; `fields` are the parameters it must name, all of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["type"].startswith("urn:ares-otel:problem:")
    assert body["title"]
    assert body["detail"]
    assert all(set(error) == {"field", "message"} and error["message"].endswith(".") for error in body["errors"])
    assert [error["field"] for error in body["errors"]] == list(fields)
    return body
