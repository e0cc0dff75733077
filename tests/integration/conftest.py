"""Fixtures that several files of integration tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.support.bus import Buses, buses
from tests.support.redis import RedisServer, redis_server


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A real Redis, running."""
    with redis_server() as made:
        yield made


@pytest.fixture
async def network(server: RedisServer) -> AsyncIterator[Buses]:
    """Event buses of several processes on that Redis."""
    async with buses(server) as made:
        yield made


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    """A client that looks into that Redis past the bus."""
    async with Redis.from_url(server.url) as client:
        yield client
