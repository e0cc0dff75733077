"""Partitions of past days with rows in them, and clocks that tests set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.storage.maintenance import Maintenance
from ares_otel.storage.partitions import Partition, list_partitions
from ares_otel.storage.partitions.attach import attach
from ares_otel.storage.partitions.lock import Connect
from ares_otel.storage.partitions.settings import RetentionSettings, SealSettings
from tests.support.stored_rows import insert_log, insert_span


class SetClock:
    """A clock that a test sets; the measuring one runs as always."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def time_ns(self) -> int:
        return int(self.at.timestamp()) * 1_000_000_000 + self.at.microsecond * 1000

    def monotonic(self) -> float:
        return time.monotonic()


def day(days_ago: int) -> datetime:
    """Midnight of the day so many days before today, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def name_of(table: str, days_ago: int) -> str:
    return f"{table}_{day(days_ago):%Y%m%d}"


async def make_partition(connection: asyncpg.Connection, table: str, days_ago: int, *, rows: int = 0) -> Partition:
    """A partition of a past day, with so many rows spread over it."""
    start = day(days_ago)
    partition = Partition(table, start, start + timedelta(days=1), name_of(table, days_ago))
    async with connection.transaction():
        await attach(connection, table, partition.name, partition.start, partition.end)
    for number in range(rows):
        at = start + timedelta(hours=24 * number / rows)
        if table == "service_spans":
            await insert_span(connection, number, start_time=at)
        else:
            await insert_log(connection, timestamp=at)
    return partition


async def names(connection: asyncpg.Connection, table: str | None = None) -> list[str]:
    """The names of the attached partitions."""
    return [p.name for p in await list_partitions(connection) if table in (None, p.table)]


class Counting:
    """A `MaintenanceObserver` that keeps what it is told."""

    def __init__(self) -> None:
        self.drops: list[tuple[str, str, int]] = []
        self.archives: list[tuple[str, int, int]] = []
        self.seals: list[str] = []
        self.packs: list[tuple[int, int]] = []
        self.prunes: dict[str, int] = {}
        self.failures: list[str] = []
        self.full: list[bool] = []

    def dropped(self, table: str, reason: str, size: int) -> None:
        self.drops.append((table, reason, size))

    def archived(self, table: str, rows: int, size: int) -> None:
        self.archives.append((table, rows, size))

    def sealed(self, table: str) -> None:
        self.seals.append(table)

    def packed(self, samples: int, duplicates: int) -> None:
        self.packs.append((samples, duplicates))

    def pruned(self, what: str, rows: int) -> None:
        self.prunes[what] = self.prunes.get(what, 0) + rows

    def failed(self, job: str) -> None:
        self.failures.append(job)

    def disk_nearly_full(self, full: bool) -> None:
        self.full.append(full)


class Keeper:
    """A `Maintenance` without delays, and what it told."""

    def __init__(
        self,
        url: str,
        settings: RetentionSettings | None = None,
        *,
        connect: Connect | None = None,
        **options: object,
    ) -> None:
        self.settings = settings or RetentionSettings()
        self.seal_settings = SealSettings()
        self.counted = Counting()
        self.narrowed: list[Mapping[str, int]] = []
        arguments: dict[str, object] = {"settle": timedelta(0), "on_narrowed": self.narrowed.append, **options}
        self.maintenance = Maintenance(
            connect or (lambda: asyncpg.connect(url)),
            settings=lambda: self.settings,
            seal_settings=lambda: self.seal_settings,
            observer=self.counted,
            **arguments,  # type: ignore[arg-type]
        )

    async def seal(self, **settings: Any) -> bool:
        self.seal_settings = SealSettings(**{"pause_seconds": 0.0, "pack_mib": 0, **settings})
        return await self.maintenance.seal()

    async def run(self) -> bool:
        return await self.maintenance.run()


async def break_off(url: str, statement: str) -> None:
    """Begins a statement of several steps (CONCURRENTLY) and cancels it when it waits for somebody's transaction, which
    the caller keeps open."""
    async with (
        asyncio.timeout(60),
        asyncpg.create_pool(url, min_size=2, max_size=2) as pool,
        pool.acquire() as connection,
        pool.acquire() as other,
    ):
        pid = connection.get_server_pid()
        running = asyncio.create_task(connection.execute(statement))
        waits = "SELECT wait_event = 'virtualxid' FROM pg_stat_activity WHERE pid = $1"
        while not await other.fetchval(waits, pid):
            assert not running.done(), "it waited for nobody"
            await asyncio.sleep(0.01)
        await other.execute("SELECT pg_cancel_backend($1)", pid)
        with pytest.raises(asyncpg.QueryCanceledError):
            await running
