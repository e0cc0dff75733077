"""`select` over a sealed partition: its samples are packed, and nothing is to be seen of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from ares_otel.storage.store import Store
from tests.support.ingested import gauge, send
from tests.support.otlp_samples import metrics_request
from tests.support.partitions import Keeper, day
from tests.support.selected import chosen, named, samples

NOON_MS = int((day(1) + timedelta(hours=12)).timestamp() * 1000)


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=3) as made:
        yield made
        await made.execute("DELETE FROM metric_packs; DELETE FROM partition_jobs")


async def test_samples_and_target_info_of_a_sealed_partition_are_those_of_the_open_one(
    pool: asyncpg.Pool, emptied_database_url: str
) -> None:
    store = Store(emptied_database_url)
    await store.start()
    points = [gauge(value=n, time_unix_nano=(NOON_MS + 60_000 * n) * 1_000_000) for n in range(20)]
    await send(store, metrics_request("orders", points, **{"host.name": "kappa"}))
    await store.stop()
    ranges = [(0, 86_400_000), (90_000, 86_400_000), (90_000, 600_000), (0, 0), (30_000, 40_000)]

    async def read() -> list[object]:
        found: list[object] = []
        for begin, end in ranges:
            times = {"start_ms": NOON_MS + begin, "end_ms": NOON_MS + end}
            for newest_only in (False, True):
                one = await chosen(pool, "queue_length", "target_info", **times, newest_only=newest_only)
                found.append((named(one), one.timestamps.tolist()))
        return found

    before = await read()
    await Keeper(emptied_database_url).seal(grace_hours=0)
    assert await pool.fetchval("SELECT count(*) FROM metric_samples") == 0
    assert await read() == before
    info = await chosen(pool, "target_info", start_ms=NOON_MS + 90_000, end_ms=NOON_MS + 600_000)
    times = [time for time, _ in samples(info)]
    assert (times[0], times[-1]) == (NOON_MS + 120_000, NOON_MS + 600_000)
    assert not (await chosen(pool, "target_info", start_ms=NOON_MS + 30_000, end_ms=NOON_MS + 40_000)).labels
