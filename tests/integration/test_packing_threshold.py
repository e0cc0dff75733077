"""Small partitions of samples stay rows, which plain SQL finds by their time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.storage.partitions import seal as sealing
from tests.support.partitions import Keeper, day, name_of

YESTERDAY = day(1) + timedelta(hours=12)
FILL = """
INSERT INTO metric_samples (series_id, "timestamp", value, received_at)
SELECT md5('a series')::uuid, $1::timestamptz + n * interval '1 s', n, $1 FROM generate_series(1, $2) n
"""


@pytest.fixture
async def empty(emptied_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_database_url)
    partitions = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'metric_packs'::regclass"
    for [packs] in await connection.fetch(partitions):
        await connection.execute(f"DROP TABLE {packs}")
    yield connection
    await connection.execute("DELETE FROM metric_packs; DELETE FROM partition_jobs")
    await connection.close()


async def left(sql: asyncpg.Connection) -> int:
    count: int = await sql.fetchval("SELECT count(*) FROM metric_samples")
    return count


async def test_a_small_partition_stays_rows_until_it_has_grown(
    empty: asyncpg.Connection, emptied_database_url: str
) -> None:
    keeper = Keeper(emptied_database_url)
    await empty.execute(FILL, YESTERDAY, 10)
    await keeper.seal(grace_hours=0, pack_mib=1)
    assert await left(empty) == 10
    assert "metric_samples" in keeper.counted.seals
    await empty.execute(FILL, YESTERDAY + timedelta(hours=1), 10_000)
    await keeper.seal(grace_hours=0, pack_mib=1)
    assert await left(empty) == 10_010, "it is sealed, and looked at again after a day"
    await empty.execute("UPDATE partition_jobs SET sealed_at = now() - interval '25 hours'")
    await keeper.seal(grace_hours=0, pack_mib=10_000)
    assert await left(empty) == 10_010
    await _with_late_bytes_of_nothing(keeper, pack_mib=1)
    assert await left(empty) == 0


async def test_late_samples_beside_packs_are_packed_however_small_the_rest_is(
    empty: asyncpg.Connection, emptied_database_url: str
) -> None:
    keeper = Keeper(emptied_database_url)
    await empty.execute(FILL, YESTERDAY, 10)
    await keeper.seal(grace_hours=0, pack_mib=0)
    await empty.execute(FILL, YESTERDAY + timedelta(hours=1), 10)
    await empty.execute("UPDATE partition_jobs SET sealed_at = now() - interval '25 hours'")
    await _with_late_bytes_of_nothing(keeper, pack_mib=10_000)
    assert await left(empty) == 0


async def test_a_partition_of_an_hour_is_packed_from_a_twenty_fourth_of_the_size_on(
    empty: asyncpg.Connection, emptied_database_url: str
) -> None:
    begin = day(9)
    for hour in range(2):
        since, until = begin + timedelta(hours=hour), begin + timedelta(hours=hour + 1)
        await empty.execute(
            f"CREATE TABLE metric_samples_{since:%Y%m%d%H} PARTITION OF metric_samples "
            f"FOR VALUES FROM ('{since.isoformat()}') TO ('{until.isoformat()}')"
        )
    await empty.execute(FILL, begin, 3000)  # some 400 KiB: of a day it would be too little
    await empty.execute(FILL, begin + timedelta(hours=1), 10)
    await Keeper(emptied_database_url).seal(grace_hours=0, pack_mib=5)
    assert await left(empty) == 10
    for hour in range(2):
        await empty.execute(f"DROP TABLE metric_samples_{begin + timedelta(hours=hour):%Y%m%d%H}")


async def _with_late_bytes_of_nothing(keeper: Keeper, **settings: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "LATE_BYTES", 0)
        await keeper.seal(grace_hours=0, **settings)


@pytest.mark.parametrize("since", ["now() - interval '1 hour'", "$1"], ids=["now", "a parameter"])
async def test_where_nothing_is_packed_the_view_looks_at_partitions_of_the_asked_time_alone(
    empty: asyncpg.Connection, emptied_database_url: str, since: str
) -> None:
    """Whatever else is asked for, and also where no service and no metric is named."""
    await empty.execute(FILL, YESTERDAY, 10)
    await Keeper(emptied_database_url).seal(grace_hours=0, pack_mib=1)
    arguments = [await empty.fetchval("SELECT now() - interval '1 hour'")] if "$1" in since else []
    wanted = f"EXPLAIN (FORMAT JSON) SELECT * FROM service_metrics WHERE timestamp > {since}"
    plan = json.loads(await empty.fetchval(wanted, *arguments))
    touched = {name for name in relations(plan) if name.startswith(("metric_samples_", "metric_distributions_"))}
    # The hour may have begun yesterday; partitions ahead of now are of that time, too.
    begin = await empty.fetchval("SELECT (now() AT TIME ZONE 'UTC' - interval '1 hour')::date")
    assert name_of("metric_samples", 0) in touched
    assert all(name.rpartition("_")[2] >= f"{begin:%Y%m%d}" for name in touched), touched
    assert not any(name.startswith("metric_packs") or name.endswith("_packed") for name in relations(plan))


def relations(plan: Any) -> Iterator[str]:
    """Tables that a plan scans."""
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Relation Name"]
        for value in plan.values():
            yield from relations(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from relations(value)
