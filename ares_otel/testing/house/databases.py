"""The databases of a run of tests: one embedded PostgreSQL, a migrated template, a copy of it for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import asyncpg

from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.migrate import migrate
from ares_otel.storage.partitions import ensure_partitions

TEMPLATE = "ares_template"
CONNECTIONS = 400
_SETTINGS = """\
# Databases of tests, thrown away with the run: nothing has to survive a crash.
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_buffers = 64MB
max_locks_per_transaction = 128
max_wal_size = 4GB
wal_level = minimal
max_wal_senders = 0
wal_compression = off
"""


def data_of(folder: Path) -> Path:
    """The data directory that this process makes: not that of a house that was killed in the same folder."""
    return folder / f"data-{os.getpid()}"


class Databases:
    """From `start` to `stop`. One copy is always ready."""

    def __init__(self, folder: Path) -> None:
        self._data = data_of(folder)
        self._postgres = EmbeddedPostgres(self._data, progress=print, connections=CONNECTIONS)
        self._numbers = itertools.count(1)
        self._url = ""
        self._spare: asyncio.Task[str] | None = None
        self._admin: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Starts the server and makes the template. Raises StartError, one clear line."""
        self._data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)
        settings = self._data / "postgresql.user.conf"
        settings.write_text(_SETTINGS, encoding="utf-8")
        settings.chmod(0o644)
        self._url = await self._postgres.start()
        self._admin = await asyncpg.connect(self._url)
        await self._admin.execute(f"CREATE DATABASE {TEMPLATE}")
        fresh = await asyncpg.connect(self.url(TEMPLATE))
        try:
            await migrate(fresh)
            await ensure_partitions(fresh)
        finally:
            await fresh.close()
        self._spare = asyncio.create_task(self._make())

    async def stop(self) -> None:
        """Ends the server. Safe without `start`."""
        if self._spare is not None:
            self._spare.cancel()
            await asyncio.gather(self._spare, return_exceptions=True)
        if self._admin is not None:
            self._admin.terminate()
        await self._postgres.stop()

    def url(self, name: str) -> str:
        """URL of a database, which psql and asyncpg take."""
        return self._url.replace("@/ares?", f"@/{name}?")

    async def take(self) -> str:
        """The name of a database that nobody else has."""
        spare, self._spare = self._spare, None
        name = await (spare if spare is not None else self._make())
        if self._spare is None:
            self._spare = asyncio.create_task(self._make())
        return name

    async def drop(self, name: str) -> None:
        """Removes it; who is connected is thrown out."""
        async with self._turn:
            assert self._admin is not None
            await self._admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _make(self) -> str:
        name = f"ares_test_{next(self._numbers)}"
        async with self._turn:
            assert self._admin is not None
            await self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return name
