"""Rows that nobody needs any more are deleted in small batches, and nothing else is."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import asyncpg
import pytest

from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.pruning import DefinitionWalk, Pace, prune_receipts, prune_rejected
from ares_otel.storage.rejected_retry import retry_key
from tests.support.partitions import Keeper, SetClock, day, make_partition
from tests.support.rejected import insert_rejected
from tests.support.stored_rows import insert, insert_log, insert_metric, insert_span, now

pytestmark = pytest.mark.every_server

SMALL = Pace(batch=3, pause=0)
DAY = timedelta(hours=24)


async def receipts(sql: asyncpg.Connection, *ages: timedelta) -> None:
    for age in ages:
        await receipt(sql, uuid.uuid4().bytes, received=age, stored=age)


async def receipt(sql: asyncpg.Connection, key: bytes, *, received: timedelta, stored: timedelta) -> None:
    """One that was received and stored so long ago."""
    times = {"received_at": now() - received, "stored_at": now() - stored}
    await insert(sql, "ingest_receipts", key=key, signal="traces", accepted=1, **times)


async def spool(sql: asyncpg.Connection, seen: timedelta, oldest: timedelta | None = None) -> None:
    await insert(
        sql,
        "ingest_spools",
        spool_id=uuid.uuid4(),
        place="host:/spool",
        seen_at=now() - seen,
        oldest_at=None if oldest is None else now() - oldest,
    )


async def ages(sql: asyncpg.Connection) -> list[int]:
    """Hours of the receipts that are left, oldest first."""
    rows = await sql.fetch("SELECT received_at FROM ingest_receipts ORDER BY received_at")
    return [round((now() - row["received_at"]) / timedelta(hours=1)) for row in rows]


class TestReceipts:
    async def test_they_are_kept_for_the_window(self, sql: asyncpg.Connection) -> None:
        await receipts(sql, *[timedelta(hours=hours) for hours in (1, 23, 25, 26, 27, 28, 29, 30, 31, 32)])
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY, pace=SMALL) == 8
        assert await ages(sql) == [23, 1]

    async def test_one_that_a_slow_clock_dated_is_kept_for_the_window_all_the_same(
        self, sql: asyncpg.Connection
    ) -> None:
        await receipt(sql, uuid.uuid4().bytes, received=timedelta(hours=50), stored=timedelta(hours=23))
        await receipt(sql, uuid.uuid4().bytes, received=timedelta(hours=60), stored=timedelta(hours=25))
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY) == 1
        assert await ages(sql) == [50]

    async def test_they_are_kept_for_what_a_spool_still_holds(self, sql: asyncpg.Connection) -> None:
        await receipts(sql, *[timedelta(hours=hours) for hours in (1, 30, 70, 80)])
        await spool(sql, seen=timedelta(0), oldest=timedelta(hours=50))
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY) == 1
        assert await ages(sql) == [70, 30, 1]

    async def test_they_are_kept_for_a_spool_that_is_away_and_was_empty(self, sql: asyncpg.Connection) -> None:
        await receipts(sql, *[timedelta(hours=hours) for hours in (1, 30, 70, 80)])
        await spool(sql, seen=timedelta(hours=50))
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY) == 1
        assert await ages(sql) == [70, 30, 1]

    async def test_that_of_a_rejected_item_whose_retry_is_not_finished_is_kept(self, sql: asyncpg.Connection) -> None:
        """Its key follows from the row; without it the next try would store the item once more."""
        await receipts(sql, timedelta(hours=30), timedelta(hours=1))
        row = await insert_rejected(sql, key=bytes(16), received_at=now() - timedelta(hours=50))
        await receipt(sql, retry_key(bytes(16), row), received=timedelta(hours=50), stored=timedelta(hours=50))
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY) == 1
        assert await ages(sql) == [50, 1]
        await sql.execute("DELETE FROM ingest_rejected")
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY) == 1
        assert await ages(sql) == [1]

    async def test_a_spool_that_was_not_seen_for_a_month_counts_no_longer_and_that_is_said(
        self, sql: asyncpg.Connection
    ) -> None:
        await receipts(sql, timedelta(hours=1), timedelta(hours=30))
        await spool(sql, seen=timedelta(days=31), oldest=timedelta(days=32))
        said: list[str] = []
        assert await prune_receipts(sql, SYSTEM_CLOCK, DAY, complain=lambda kind, sentence: said.append(sentence)) == 1
        assert await ages(sql) == [1]
        assert len(said) == 1
        assert said[0].startswith("The spool host:/spool was not seen since")

    async def test_a_clock_that_jumps_ahead_removes_none(self, sql: asyncpg.Connection) -> None:
        await receipts(sql, timedelta(hours=1))
        assert await prune_receipts(sql, SetClock(now() + timedelta(days=300)), DAY) == 0


async def rejected(sql: asyncpg.Connection, rejected_at: datetime) -> None:
    await insert(
        sql,
        "ingest_rejected",
        received_at=rejected_at,
        rejected_at=rejected_at,
        signal="logs",
        service_name="orders",
        reason="no",
        told=True,
        key=b"k",
        payload=b"p",
    )


async def test_rejected_items_go_by_age_and_by_number(sql: asyncpg.Connection) -> None:
    for days_ago in (40, 39, 38, 37, 5, 4, 3, 2, 1):
        await rejected(sql, now() - timedelta(days=days_ago))
    assert await prune_rejected(sql, now(), days=30, rows=100, pace=SMALL) == 4
    assert await prune_rejected(sql, now(), days=30, rows=2, pace=SMALL) == 3
    left = await sql.fetch("SELECT rejected_at FROM ingest_rejected ORDER BY 1")
    assert [(now() - row["rejected_at"]).days for row in left] == [2, 1]
    assert await prune_rejected(sql, now() + timedelta(days=9999), days=0, rows=100) == 0


async def test_definitions_go_when_no_kept_partition_can_refer_to_them(sql: asyncpg.Connection) -> None:
    for number in range(20):
        await insert(
            sql,
            "otel_resources",
            resource_id=uuid.UUID(int=number),
            service_name="orders",
            tenant_id=number % 3,
            last_seen=day(40 if number % 2 else 33),
        )
        await insert(sql, "otel_scopes", scope_id=uuid.UUID(int=number), last_seen=day(0))
    walk = DefinitionWalk(Pace(batch=3, pause=0, seconds=0.0))
    assert await walk.run(sql, day(30)) == {}, "no time, no work"
    walk = DefinitionWalk(SMALL)
    assert await walk.run(sql, day(30)) == {"otel_resources": 10, "otel_scopes": 0, "metric_series": 0}
    assert await walk.run(sql, day(30)) == {}, "once for each oldest partition"
    assert await sql.fetchval("SELECT min(last_seen) FROM otel_resources") == day(33)


class TestServices:
    async def test_rows_of_one_service_go_earlier_than_the_rest(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        for table in ("service_spans", "service_logs", "metric_samples"):
            for days_ago in (5, 4, 3):
                await make_partition(sql, table, days_ago)
        for service in ("noisy", "orders"):
            for days_ago in (5, 4, 3, 2, 1):
                for number in range(8):
                    at = day(days_ago) + timedelta(hours=number)
                    await insert_span(sql, number, service_name=service, start_time=at)
                    await insert_log(sql, service_name=service, timestamp=at)
                    await insert_metric(sql, service_name=service, labels={"n": number}, timestamp=at)
        settings = RetentionSettings(service_days={"noisy": (now() - day(2) - timedelta(hours=3.5)) / DAY})
        keeper = Keeper(database_url, settings, pace=SMALL)
        await keeper.run()
        for table in ("service_spans", "service_logs"):
            counts = await sql.fetch(f"SELECT service_name, count(*) FROM {table} GROUP BY 1 ORDER BY 1")
            assert [tuple(row) for row in counts] == [("noisy", 12), ("orders", 40)]
        counts = await sql.fetch("SELECT service_name, count(*) FROM service_metrics GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in counts] == [("noisy", 12), ("orders", 40)]
        assert keeper.counted.prunes["service_spans"] == 28
        assert keeper.counted.prunes["metric_samples"] == 28
        assert keeper.counted.failures == []

    async def test_a_lock_on_a_partition_does_not_hold_up_the_rest(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_logs", 10, rows=1)
        await receipts(sql, timedelta(days=9))
        holder = await asyncpg.connect(database_url)
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(f"LOCK TABLE {old.name} IN ACCESS EXCLUSIVE MODE")
        keeper = Keeper(database_url, RetentionSettings(service_days={"orders": 5}))
        await keeper.run()
        assert keeper.counted.failures == ["prune"]
        assert await ages(sql) == []
        await transaction.rollback()
        await holder.close()
        await keeper.run()
        assert await sql.fetchval("SELECT count(*) FROM service_logs") == 0
