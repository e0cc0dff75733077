"""Fixtures that several files of integration tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from ares_otel.storage import breaker, replay
from ares_otel.storage.rows.encoded import DEFINITIONS, INCREMENTS, KEPT
from ares_otel.storage.store import Store
from tests.support.api import Api, running_api
from tests.support.bus import Buses, buses
from tests.support.otlp_sink import Sink, otlp_sink
from tests.support.postgres import copied_database
from tests.support.redis import RedisServer, redis_server
from tests.support.spooling import Place


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def module_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a migrated database that the tests of a file share."""
    with copied_database(postgres_server) as url:
        yield url


@pytest.fixture
def emptied_database_url(module_database_url: str) -> Iterator[str]:
    """The same, without telemetry at the beginning of each test: sooner than a copy for each. A file whose fixtures
    are to use it defines `database_url` as this one."""
    yield module_database_url
    asyncio.run(_empty(module_database_url))


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    of_prometheus = (
        "prometheus_series",
        "prometheus_labels",
        "prometheus_metadata",
        "metric_totals",
        "metric_day_totals",
        "metric_delta_refused",
    )
    for table in (*KEPT, *INCREMENTS, *DEFINITIONS, "ingest_receipts", "ingest_rejected", *of_prometheus):
        await connection.execute(f"DELETE FROM {table}")
    await connection.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on the test's database, running, without a spool."""
    store = Store(database_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The API on the test's database."""
    async with running_api(database_url) as made:
        yield made


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    """A real OTLP receiver for applications that run as processes of their own."""
    with otlp_sink() as receiver:
        yield receiver


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


@pytest.fixture
def place(database_url: str, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store's database and spool, whose replayer is in a hurry."""
    monkeypatch.setattr(breaker, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(breaker, "LONGEST_DELAY", 0.1)
    monkeypatch.setattr(replay, "BUSY_SECONDS", 0.02)
    return Place(database_url, sql, tmp_path / "spool")
