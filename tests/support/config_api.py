"""The configuration endpoints over a test's database, and a client for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from ares_otel.api.app import create_app
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config.service import ConfigService
from ares_otel.control.crypto import Keyring

ROOT = "/api/v1/config"
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


@dataclass
class ConfigApi:
    """What a test of the configuration endpoints needs."""

    app: FastAPI
    client: httpx.AsyncClient
    pool: asyncpg.Pool
    service: ConfigService
    feed: ChangeFeed

    async def get(self, path: str, *, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        return await self.client.get(f"{ROOT}/{path}", params=query or None, headers=headers)

    async def put(
        self, path: str, value: Any, *, headers: dict[str, str] | None = None, by: str = "alice", **fields: Any
    ) -> httpx.Response:
        """PUT of any JSON value by alice."""
        body = {"value": value, "updated_by": by, **fields}
        return await self.client.put(f"{ROOT}/{path}", content=json.dumps(body), headers=headers)

    async def delete(self, path: str, *, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        params = {"updated_by": "bob", **query}
        return await self.client.delete(f"{ROOT}/{path}", params=params, headers=headers)

    async def post(
        self, path: str, body: Any, *, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        return await self.client.post(f"{ROOT}/{path}", content=json.dumps(body), params=query or None, headers=headers)

    async def history(self, path: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.get(f"{path}/history", **query)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["history"]
        return rows


@asynccontextmanager
async def running_config_api(
    database_url: str, *, keyring: Keyring | None = None, listens: bool = True
) -> AsyncIterator[ConfigApi]:
    """The API with the configuration service on a pool of the database, called in process."""

    async def ready() -> list[str]:
        return []

    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as pool:
        service = ConfigService(pool, Keyring(KEY) if keyring is None else keyring)
        feed = ChangeFeed(service, lambda: asyncpg.connect(database_url), listens=listens)
        await feed.start()
        try:
            app = create_app(
                pool, version="1.2.3", registry=CollectorRegistry(), ready=ready, config=service, config_feed=feed
            )
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                yield ConfigApi(app, client, pool, service, feed)
        finally:
            await feed.stop()


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: int
    name: str
    data: Any


async def read_events(response: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream, without its comments."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


async def next_events(events: AsyncIterator[Event], count: int, *, seconds: float = 20) -> list[Event]:
    """The next events of a stream. Raises TimeoutError when they do not come."""
    async with asyncio.timeout(seconds):
        return [await anext(events) for _ in range(count)]
