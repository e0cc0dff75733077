"""Clients of Jaeger's HTTP APIs that leave before they are answered."""

from __future__ import annotations

import asyncio
import socket

import asyncpg
import pytest

from ares_otel.api.jaeger.door import jaeger_app
from ares_otel.api.jaeger.v3_http import v3_routes
from tests.support.door import get, opened, status_of
from tests.support.eventually import eventually
from tests.support.otlp_receiver import talk
from tests.support.stuck import stuck

UNKNOWN = "0123456789abcdef0123456789abcdef"
_READS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'left' AND state = 'active'"
_WAITING = f"{_READS} AND wait_event_type = 'Lock'"
"""Those that wait for the table. A server that is between two statements ignores a request to cancel: a client that
leaves just then is not what is tested."""


@pytest.mark.parametrize(
    "path", [f"/api/traces/{UNKNOWN}", f"/api/v3/traces/{UNKNOWN}", "/api/traces?service=web&start=1&lookback=1h"]
)
async def test_what_a_client_waited_for_ends_when_it_leaves(database_url: str, path: str) -> None:
    settings = {"application_name": "left"}
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8, server_settings=settings) as pool:
        app = jaeger_app(pool, more=v3_routes(pool))
        async with opened(app) as door, stuck(database_url):

            async def count(query: str, number: int) -> None:
                await eventually(lambda: _counts(database_url, query, number), every=0.02)

            client = socket.create_connection(("127.0.0.1", door.port))
            client.sendall(get("localhost", path=path))
            await count(_WAITING, 1)
            client.close()
            await count(_READS, 0)
            await eventually(lambda: asyncio.sleep(0, pool.get_idle_size() == pool.get_size()), every=0.02)
        async with opened(app) as door:
            assert status_of(await talk(door.port, get("localhost", path="/api/services"))) == 200


async def _counts(url: str, query: str, number: int) -> bool:
    database = await asyncpg.connect(url)
    try:
        return bool(await database.fetchval(query) == number)
    finally:
        await database.close()
