"""Fixtures of the acceptance tests: the real command, started once for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, running_ares
from tests.support.postgres import copied_database


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    """`ares-otel up` on a database of its own, on the run's server: it starts faster than the embedded one."""
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path_factory.mktemp("ares"), "--database-url", url) as ares,
    ):
        yield ares


@pytest.fixture
async def database(ares: AresProcess) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database that Ares prints as its door."""
    connection = await asyncpg.connect(ares.database)
    yield connection
    await connection.close()


@pytest.fixture
async def api(ares: AresProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the REST endpoints; paths begin after `/api/v1/observability`."""
    base = f"{ares.http}/api/v1/observability"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
        yield client
