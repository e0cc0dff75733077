"""Jaeger's HTTP APIs over a test's database, and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.envelope import Envelope
from ares_otel.api.jaeger.adjust import MAX_SKEW_NS
from ares_otel.api.jaeger.door import jaeger_app
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.implementation import active
from tests.support.otlp_samples import batch_of
from tests.support.rows_store import store


@dataclass
class JaegerHttp:
    """What a test of these APIs needs."""

    client: httpx.AsyncClient
    pool: asyncpg.Pool

    async def send(self, data: TracesData) -> None:
        """Stores the spans as the receivers do."""
        request = ExportTraceServiceRequest(resource_spans=data.resource_spans)
        async with self.pool.acquire() as connection:
            await store(connection, active().encode(batch_of(request), await read_windows(connection)))

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """GET of a path below `/api`; a list is a parameter that is given several times."""
        return await self.client.get(f"/api/{path}?{urlencode(query, doseq=True)}")

    async def data(self, path: str, **query: Any) -> Any:
        """The data of an answer that must be 200."""
        answer = await self.get(path, **query)
        return envelope_of(answer, 200)["data"]

    async def names(self, **query: Any) -> list[str]:
        """The first operations of the traces that a search finds, in its order."""
        return [trace["spans"][0]["operationName"] for trace in await self.data("traces", **query)]


def envelope_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Holds an answer against the one shape of all answers."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"data", "total", "limit", "offset", "errors"}
    if status >= 400:
        assert body["data"] is None
        [told] = body["errors"]
        assert told["code"] == status
        assert told["msg"]
    return body


@asynccontextmanager
async def jaeger_http(database_url: str, *, max_skew_ns: int = MAX_SKEW_NS) -> AsyncIterator[JaegerHttp]:
    """The application of the door, called in process."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as pool:
        app = Envelope(jaeger_app(pool, max_skew_ns=max_skew_ns))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:16686") as client:
            yield JaegerHttp(client, pool)


def tags_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a span or process by key."""
    return {tag["key"]: tag["value"] for tag in one["tags"]}
