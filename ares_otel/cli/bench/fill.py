"""Fills a database through the product's own way: past partitions, then OTLP into a running Ares, then its sealer.

The spans are spread evenly over the hours before now, so that the last hour holds its share of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.cli import console
from ares_otel.cli.bench.data import ITEMS_A_REQUEST
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.worker import worker
from ares_otel.storage.partitions import list_partitions
from ares_otel.storage.partitions.attach import attach
from ares_otel.storage.partitions.lock import SEAL, exclusive
from ares_otel.storage.partitions.observer import SilentMaintenanceObserver
from ares_otel.storage.partitions.seal import SEARCH_INDEXES, Sealer
from ares_otel.storage.partitions.settings import SealSettings
from ares_otel.storage.rows.encoded import PARTITIONED

SET_SIZE = 200
"""Requests of spans that are built; a larger number of spans repeats them with other ids and times."""
EXPORTS = 12
"""Of metrics, of each service within the last hour, however many spans there are."""
_DAY = timedelta(days=1)
_TURN_SECONDS = 120.0
_MERGE_SECONDS = 60.0
"""So long may nothing be merged before that counts as an error."""
_WAITING = "SELECT (SELECT count(*) FROM span_rollup_increments) + (SELECT count(*) FROM log_rollup_increments)"


@dataclass(frozen=True, slots=True)
class Filled:
    """What is in the database now."""

    spans: int
    logs: int
    points: int
    hours: int
    services: int
    seconds: float
    open_spans: int
    """Spans in partitions that are not sealed."""
    sealed: int
    """Sealed partitions of spans."""

    def __str__(self) -> str:
        return (
            f"{self.spans:,} spans, {self.logs:,} log records and {self.points:,} metric points of {self.services} "
            f"services over {self.hours} hours; {self.sealed} sealed partitions of spans and {self.open_spans:,} spans "
            f"in open ones; filled in {self.seconds:.0f} s"
        )


async def pause_sealing(url: str) -> None:
    """Lets partitions be until `seal_all`: what is filled in is late, and would meet the indexes of sealed ones."""
    connection = await asyncpg.connect(url)
    await connection.execute(_PAUSE)
    await connection.close()


async def reopen_empty(url: str, at: datetime) -> None:
    """Takes the search indexes away from partitions around a time that Ares sealed when nothing was in them yet."""
    async with _turn(url) as connection:
        for partition in await list_partitions(connection):
            filled = f'SELECT EXISTS (SELECT FROM "{partition.name}")'  # noqa: S608
            if not partition.start <= at < partition.end or await connection.fetchval(filled):
                continue
            for index in SEARCH_INDEXES.get(partition.table, ()):
                await connection.execute(f'DROP INDEX IF EXISTS "{index.name(partition.name)}"')
            await connection.execute(
                "UPDATE partition_jobs SET sealed_at = NULL, sealed_with = NULL WHERE partition_name = $1",
                partition.name,
            )


async def prepare_partitions(url: str, hours: int) -> bool:
    """Makes the past partitions that are missing. True when there are new ones: an Ares that is running does not know
    them yet."""
    connection = await asyncpg.connect(url)
    try:
        now = datetime.now(UTC)
        existing = await list_partitions(connection)
        made = False
        start = (now - timedelta(hours=hours)).replace(hour=0, minute=0, second=0, microsecond=0)
        while start < now:
            for table in PARTITIONED:
                if not any(p.table == table and p.start < start + _DAY and start < p.end for p in existing):
                    async with connection.transaction():
                        await attach(connection, table, f"{table}_{start:%Y%m%d}", start, start + _DAY)
                    made = True
            start += _DAY
        return made
    finally:
        await connection.close()


async def fill(running: Running, spans: int, hours: int, *, exports: int = EXPORTS, wait: bool = True) -> Filled:
    """Sends so many spans (rounded up to whole sets), their logs, and metrics; then seals what is over.

    Args:
        exports: of metrics, of each service within the last hour.
        wait: until the roll-ups are merged.
    """
    requests = -(-spans // ITEMS_A_REQUEST)
    sets = -(-requests // SET_SIZE)
    size = -(-requests // sets)
    await pause_sealing(running.database)
    started = time.monotonic()
    console.progress(f"filling in {sets * size * ITEMS_A_REQUEST:,} spans ...")
    async with worker() as sender:
        await sender.prepare(
            kind="fill",
            seed=1,
            set_size=size,
            sets=sets,
            window_ns=hours * 3_600_000_000_000 // sets,
            end_ns=time.time_ns(),
            exports=exports,
            signals=["traces", "logs", "metrics"],
            target=running.otlp_grpc,
        )
        sent = (await sender.run())["sent"]
    console.progress("merging roll-ups and sealing ...")
    if wait:
        await _wait_for_rollups(running.database)
    sealed, open_spans, services = await seal_all(running.database)
    return Filled(
        sent["traces"],
        sent["logs"],
        sent["metrics"],
        hours,
        services,
        time.monotonic() - started,
        open_spans,
        sealed,
    )


async def seal_all(url: str) -> tuple[int, int, int]:
    """Seals every partition whose time is over, with the product's own sealer, and gathers statistics of the others as
    autovacuum would. Returns sealed partitions of spans, spans in the others, and services."""
    async with _turn(url) as connection:
        # One that was sealed while it was empty is vacuumed now that it has rows.
        await connection.execute(
            "UPDATE partition_jobs SET sealed_at = NULL, sealed_with = NULL WHERE leaving_since IS NULL"
        )
        settings = SealSettings(grace_hours=0, pause_seconds=0, memory_mb=256, pack_mib=0)
        now: datetime = await connection.fetchval("SELECT now()")
        await Sealer(connection, lambda: settings, now, observer=SilentMaintenanceObserver()).run()
        names = [row["partition_name"] for row in await connection.fetch(_SEALED)]
        spans = 0
        for partition in await list_partitions(connection):
            if partition.name not in names:
                await connection.execute(f'ANALYZE "{partition.name}"', timeout=600)
                if partition.table == "service_spans":
                    spans += await connection.fetchval(f'SELECT count(*) FROM "{partition.name}"', timeout=600)  # noqa: S608
        await connection.execute("ANALYZE otel_resources, otel_scopes, metric_series, service_registry")
        with suppress(asyncpg.InsufficientPrivilegeError):  # else its writes slow the first questions
            await connection.execute("CHECKPOINT", timeout=600)
        services = await connection.fetchval("SELECT count(DISTINCT service_name) FROM otel_resources")
    return sum(name.startswith("service_spans") for name in names), spans, services


_PAUSE = """
INSERT INTO service_config (service_name, config_key, config_value, updated_by)
VALUES ('ares-api', 'seal.enabled', 'false', 'bench'), ('ares-api', 'seal.pause_seconds', '0', 'bench')
ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = excluded.config_value, updated_by = 'bench'
"""  # the pause: what is being sealed just now is to be finished soon
_SEALED = "SELECT partition_name FROM partition_jobs WHERE sealed_at IS NOT NULL"


async def _wait_for_rollups(url: str) -> None:
    """Until Ares has merged what was sent, for as long as it gets on: answers from roll-ups are dearer before."""
    connection = await asyncpg.connect(url)
    try:
        before, progress = None, time.monotonic()
        while waiting := await connection.fetchval(_WAITING):
            if before is None or waiting < before:
                before, progress = waiting, time.monotonic()
            elif time.monotonic() > progress + _MERGE_SECONDS:
                raise BenchError(f"{waiting} increments of roll-ups wait, and Ares does not merge them.")
            await asyncio.sleep(2)
    finally:
        await connection.close()


@asynccontextmanager
async def _turn(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection while no other process seals."""
    deadline = time.monotonic() + _TURN_SECONDS
    while True:
        async with exclusive(lambda: asyncpg.connect(url), SEAL, pooled=False) as connection:
            if connection is not None:
                yield connection
                return
        if time.monotonic() > deadline:
            raise BenchError("Another process seals partitions and does not come to an end.")
        await asyncio.sleep(0.2)
