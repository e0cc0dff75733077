"""kill -9 in the middle of retention, archive and seal, again and again: the next run repairs everything."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from ares_otel.storage.partitions import Partition
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.maintenance_process import start
from tests.support.otlp_samples import batch_of, logs_request, span, trace_request
from tests.support.partitions import Keeper, make_partition, names

ROUNDS = 10
ROWS = 5
SAMPLES = 8000
DAY_NS = 86_400 * 10**9


_SAMPLES = """
INSERT INTO metric_samples (series_id, "timestamp", value)
SELECT md5((g % 7)::text)::uuid, $1::timestamptz + g * interval '4 s', $2::integer * $3::integer + g
FROM generate_series(0, $3::integer - 1) g
"""


class Sender:
    """Stores rows of now and of yesterday without a pause, and keeps what it was told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.spans = self.logs = 0
        self.failed: list[BaseException] = []
        self.enough = asyncio.Event()

    async def send(self) -> None:
        while not self.enough.is_set():
            late = time.time_ns() - DAY_NS
            spans = [span(), span(start_time_unix_nano=late, end_time_unix_nano=late)]
            try:
                self.spans += (await self._store.consume(batch_of(trace_request(spans=spans)))).stored
                self.logs += (await self._store.consume(batch_of(logs_request()))).stored
            except Exception as error:
                self.failed.append(error)
            await asyncio.sleep(0.001)


async def look_again_and_again(url: str, enough: asyncio.Event) -> None:
    """Somebody who reads and takes time: a detach and the building of an index wait for that."""
    connection = await asyncpg.connect(url)
    while not enough.is_set():
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM service_spans")
            await connection.fetchval("SELECT count(*) FROM service_logs")
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.1)
    await connection.close()


async def count(sql: asyncpg.Connection, table: str, since_days: int) -> int:
    column = "start_time" if table == "service_spans" else "timestamp"
    found: int = await sql.fetchval(
        f"SELECT count(*) FROM {table} WHERE {column} > now() - make_interval(days => $1)", since_days
    )
    return found


async def killed_rounds(database_url: str, sql: asyncpg.Connection, archive: Path) -> list[Partition]:
    """Processes are killed while they let partitions go; returns the partitions that had to go."""
    chance = random.Random(20_261_126)
    gone: list[Partition] = []
    for number in range(ROUNDS):
        for table, days_ago in (("service_spans", 31 + number), ("service_logs", 31 + number)):
            gone.append(await make_partition(sql, table, days_ago, rows=ROWS))
        await make_partition(sql, "service_logs", 3 + number)  # stays, and is sealed
        samples = await make_partition(sql, "metric_samples", 3 + number)  # this too, which takes some time
        await sql.execute(_SAMPLES, samples.start, number, SAMPLES)
        processes = await asyncio.gather(
            *(asyncio.to_thread(start, database_url, str(archive)) for _ in range(1 + number % 2))
        )
        await asyncio.sleep(chance.uniform(0, 0.6))  # not to wait for something, but to strike anywhere
        for process in processes:
            process.kill()
            process.communicate()
    return gone


async def leftovers(sql: asyncpg.Connection, gone: Sequence[Partition]) -> dict[str, list[str]]:
    """What a run that was broken off may have left."""
    looks = {
        "tables": "SELECT relname FROM pg_class WHERE relname = ANY ($1)",
        "detaches": "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending",
        "indexes": "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid",
        "jobs": "SELECT partition_name FROM partition_jobs WHERE leaving_since IS NOT NULL",
    }
    found = {}
    for what, query in looks.items():
        arguments = [[partition.name for partition in gone]] if "$1" in query else []
        found[what] = [row[0] for row in await sql.fetch(query, *arguments)]
    return found


async def test_kill_at_any_moment_loses_nothing_and_leaves_nothing(
    database_url: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    await make_partition(sql, "service_spans", 20, rows=ROWS)
    store = Store(database_url)
    await store.start()
    sender = Sender(store)
    sending = asyncio.create_task(sender.send())
    reading = asyncio.create_task(look_again_and_again(database_url, sender.enough))
    gone = await killed_rounds(database_url, sql, tmp_path)
    keeper = Keeper(database_url, RetentionSettings(archive_directory=str(tmp_path)))
    assert await eventually(keeper.run), "the server notices within seconds that the killed process is gone"
    assert await eventually(lambda: keeper.seal(grace_hours=0))
    sender.enough.set()
    await asyncio.gather(sending, reading)
    await store.stop()

    assert await leftovers(sql, gone) == {"tables": [], "detaches": [], "indexes": [], "jobs": []}
    assert keeper.counted.failures == []
    assert not {partition.name for partition in gone} & set(await names(sql))
    assert sender.failed == []
    assert await count(sql, "service_spans", 10) == sender.spans > 0
    assert await count(sql, "service_logs", 10) == sender.logs > 0
    assert await count(sql, "service_spans", 30) == sender.spans + ROWS, "what is not old is all there"
    found = await sql.fetchrow("SELECT count(*), count(DISTINCT value) FROM v_metric_samples")
    assert tuple(found) == (ROUNDS * SAMPLES, ROUNDS * SAMPLES), "packed or not, each is there once"
    assert await sql.fetchval("SELECT count(*) FROM metric_samples") == 0
    files = sorted(os.listdir(tmp_path))
    assert files == sorted(f"{partition.name}.parquet" for partition in gone), "and no half file"
    assert [pq.read_metadata(tmp_path / name).num_rows for name in files] == [ROWS] * len(files)
