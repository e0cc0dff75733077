"""Ares as an application's SDK meets it: its settings and its registry, by REST and by SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry

from ares_otel.api.app import create_app
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config.service import ConfigService
from ares_otel.control.crypto import Keyring
from ares_otel.control.registry import Registry
from ares_otel.pipeline.http_door import HttpDoor
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.stream_server import stream_server


class Ares:
    """The API on a port that stays the same over restarts, and its database."""

    def __init__(self, database_url: str, pool: asyncpg.Pool) -> None:
        self.database_url = database_url
        self.pool = pool
        self.port = free_port()
        self.interval = 30.0
        self._stack = AsyncExitStack()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        async def ready() -> list[str]:
            return []

        config = ConfigService(self.pool, Keyring())
        self.feed = ChangeFeed(config, lambda: asyncpg.connect(self.database_url))
        app = create_app(
            self.pool,
            version="1",
            registry=CollectorRegistry(),
            ready=ready,
            config=config,
            config_feed=self.feed,
            service_registry=Registry(self.pool, interval=lambda: self.interval),
        )
        door = HttpDoor("http", app, host="127.0.0.1", port=self.port, setting="--http-port")
        await door.start()
        self._stack.push_async_callback(door.stop)
        await self.feed.start()
        self._stack.push_async_callback(self.feed.stop)

    async def stop(self) -> None:
        await self._stack.aclose()

    async def put(self, service: str, key: str, value: Any) -> int:
        """Sets a value with SQL; the id of the change."""
        await self.pool.execute(
            """INSERT INTO service_config (service_name, config_key, config_value) VALUES ($1, $2, $3)
            ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = excluded.config_value""",
            service,
            key,
            json.dumps(value),
        )
        return await self.newest(service)

    async def delete(self, service: str, key: str) -> int:
        await self.pool.execute("DELETE FROM service_config WHERE service_name = $1 AND config_key = $2", service, key)
        return await self.newest(service)

    async def newest(self, service: str) -> int:
        id: int = await self.pool.fetchval(
            "SELECT max(id) FROM service_config_history WHERE service_name = $1", service
        )
        return id

    async def cut_connections(self) -> None:
        """Ends every other session on the database, as a restart does."""
        await self.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@asynccontextmanager
async def ares_on(database_url: str) -> AsyncIterator[Ares]:
    """A running one."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as pool:
        ares = Ares(database_url, pool)
        await ares.start()
        try:
            yield ares
        finally:
            await ares.stop()


async def comes(look: Callable[[], Any]) -> None:
    """Waits until it is true."""
    await eventually(lambda: asyncio.sleep(0, look()), every=0.01)


@dataclass
class Stranger:
    """A server that is not Ares: it answers every request with the same bytes, and counts them."""

    answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await self.answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # it hung up
        finally:
            writer.close()


@asynccontextmanager
async def stranger(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Stranger]:
    """A running one."""
    made = Stranger(answer)
    async with stream_server(made.serve) as made.port:
        yield made
