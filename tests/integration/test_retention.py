"""Retention: partitions that are too old leave, and nobody has to wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from ares_otel.storage.partitions import ensure_partitions, read_windows, to_ns
from ares_otel.storage.partitions.jobs import begin_detach, mark_leaving, read_jobs
from ares_otel.storage.partitions.lock import RETENTION
from ares_otel.storage.partitions.plan import Removal
from ares_otel.storage.partitions.settings import Disk, RetentionSettings
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.otlp_samples import batch_of, span, trace_request
from tests.support.partitions import Keeper, SetClock, break_off, day, make_partition, name_of, names
from tests.support.stored_rows import insert_span, now

pytestmark = pytest.mark.every_server

KEPT_READY = 6
"""Partitions around now that every table has."""


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A second session."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


class TestByAge:
    async def test_a_partition_leaves_when_its_last_row_is_older_than_thirty_days(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 31, rows=3)
        kept = await make_partition(sql, "service_spans", 30, rows=3)
        keeper = Keeper(database_url)
        assert await keeper.run()
        left = await names(sql, "service_spans")
        assert old.name not in left
        assert kept.name in left
        assert await sql.fetchval("SELECT to_regclass($1)", old.name) is None
        assert await sql.fetchval("SELECT count(*) FROM service_spans") == 3
        assert [(table, reason) for table, reason, _ in keeper.counted.drops] == [("service_spans", "age")]
        assert keeper.counted.drops[0][2] > 0

    async def test_each_signal_has_its_own_days_and_zero_keeps_for_ever(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        for table in ("service_spans", "service_logs", "metric_samples", "metric_distributions"):
            await make_partition(sql, table, 10)
        settings = RetentionSettings(days=5, signal_days={"traces": 9, "logs": 10, "metrics": 0})
        await Keeper(database_url, settings).run()
        left = await names(sql)
        assert name_of("service_spans", 10) not in left
        assert name_of("service_logs", 10) in left
        assert name_of("metric_samples", 10) in left
        assert name_of("metric_distributions", 10) in left

    async def test_what_was_dropped_is_not_made_again_and_late_rows_are_filed_under_their_receive_time(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        keeper = Keeper(database_url, RetentionSettings(days=0.00001))
        store = Store(database_url)
        await store.start()
        await keeper.run()
        assert await ensure_partitions(sql) == []
        assert len(await names(sql, "service_spans")) == KEPT_READY - 2
        late = to_ns(now() - timedelta(days=1, hours=12))
        request = trace_request(spans=[span(start_time_unix_nano=late, end_time_unix_nano=late)])
        store.narrow(keeper.narrowed[0])
        assert (await store.consume(batch_of(request))).stored == 1
        row = await sql.fetchrow("SELECT start_time, original_time_unix_nano FROM service_spans")
        assert row is not None
        assert int(row["original_time_unix_nano"]) == late
        assert row["start_time"] > day(0)
        await store.stop()

    async def test_a_clock_that_jumps_ahead_deletes_nothing(self, database_url: str, sql: asyncpg.Connection) -> None:
        before = await names(sql)
        await Keeper(database_url, clock=SetClock(now() + timedelta(days=400))).run()
        assert await names(sql) == before

    async def test_retention_that_is_prolonged_in_time_keeps_what_was_about_to_leave(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=1)
        keeper = Keeper(database_url, settle=timedelta(hours=1))
        await keeper.run()
        assert [job.leaving_reason for job in await read_jobs(sql)] == ["age"]
        keeper.settings = RetentionSettings(days=60)
        await keeper.run()
        assert [job.leaving_reason for job in await read_jobs(sql)] == [None]
        assert old.name in await names(sql)
        assert await sql.fetchval("SELECT not_before FROM partition_floors") == old.start


class TestNarrowing:
    async def test_no_process_files_rows_into_what_is_about_to_leave(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        for days_ago in range(3, 41):
            await make_partition(sql, "service_spans", days_ago)
        assert (await read_windows(sql))["service_spans"].start_ns == to_ns(day(40))
        keeper = Keeper(database_url, settle=timedelta(hours=1))
        await keeper.run()
        assert keeper.narrowed == [{"service_spans": to_ns(day(30))}]
        assert (await read_windows(sql))["service_spans"].start_ns == to_ns(day(30))
        assert name_of("service_spans", 40) in await names(sql), "it leaves when all processes have narrowed"

    async def test_the_open_partition_has_a_window_even_when_the_clock_went_back_to_a_dropped_day(
        self, sql: asyncpg.Connection
    ) -> None:
        await sql.execute("INSERT INTO partition_floors VALUES ('service_spans', $1)", day(-1))
        window = (await read_windows(sql))["service_spans"]
        assert window.start_ns <= to_ns(now()) < window.end_ns
        await sql.execute(f"DROP TABLE {name_of('service_spans', 0)}")
        assert name_of("service_spans", 0) in await ensure_partitions(sql)


class TestOthersAtWork:
    async def test_inserts_and_reads_go_on_while_a_detach_waits_and_the_next_run_finishes_it(
        self, database_url: str, sql: asyncpg.Connection, other: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=2)
        keeper = Keeper(database_url, patience=0.5)
        reading = other.transaction()
        await reading.start()
        assert await other.fetchval("SELECT count(*) FROM service_spans") == 2
        run = asyncio.create_task(keeper.run())
        while not run.done():
            await insert_span(sql, 1, start_time=now())
        assert keeper.counted.failures == ["drop"]
        assert keeper.counted.drops == []
        assert await sql.fetchval("SELECT failures FROM partition_jobs WHERE partition_name = $1", old.name) == 1
        await reading.rollback()
        await keeper.run()
        assert await sql.fetchval("SELECT to_regclass($1)", old.name) is None
        assert await sql.fetchval("SELECT count(*) FROM partition_jobs") == 0

    async def test_where_a_default_partition_forbids_it_the_detach_is_a_plain_one(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=1)
        await sql.execute("CREATE TABLE somebodys PARTITION OF service_spans DEFAULT")
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await sql.execute(f"ALTER TABLE service_spans DETACH PARTITION {old.name} CONCURRENTLY")
        await Keeper(database_url).run()
        assert old.name not in await names(sql)

    async def test_one_process_at_a_time(self, database_url: str, sql: asyncpg.Connection) -> None:
        await sql.execute("SELECT pg_advisory_lock($1)", RETENTION)
        assert not await Keeper(database_url).run()
        await sql.execute("SELECT pg_advisory_unlock_all()")
        assert await Keeper(database_url).run()
        assert await Keeper(database_url, pooled=True).run()


class TestLeftovers:
    async def test_a_detach_that_was_killed_between_its_steps_is_finished(
        self, database_url: str, sql: asyncpg.Connection, other: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=2)
        await mark_leaving(sql, [Removal(old, "age")])
        await begin_detach(sql, old.name)
        await half_detach(database_url, other, old.name)
        assert await sql.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 1
        await Keeper(database_url).run()
        assert await sql.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 0
        assert await sql.fetchval("SELECT to_regclass($1)", old.name) is None

    async def test_a_table_that_was_detached_and_not_dropped_is_dropped(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=2)
        await mark_leaving(sql, [Removal(old, "age")])
        await begin_detach(sql, old.name)
        await sql.execute(f"ALTER TABLE service_spans DETACH PARTITION {old.name}")
        await Keeper(database_url).run()
        assert await sql.fetchval("SELECT to_regclass($1)", old.name) is None

    @pytest.mark.parametrize("about_to_leave", [False, True])
    async def test_a_table_that_somebody_detached_by_hand_is_left_alone(
        self, database_url: str, sql: asyncpg.Connection, about_to_leave: bool
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=2)
        if about_to_leave:
            await mark_leaving(sql, [Removal(old, "age")])
        await sql.execute(f"ALTER TABLE service_spans DETACH PARTITION {old.name}")
        for _ in range(2):
            await Keeper(database_url).run()
        assert await sql.fetchval(f"SELECT count(*) FROM {old.name}") == 2


async def half_detach(url: str, reader: asyncpg.Connection, name: str) -> None:
    """Leaves a detach broken off between its two steps."""
    reading = reader.transaction()
    await reading.start()
    await reader.fetchval("SELECT count(*) FROM service_spans")
    await break_off(url, f"ALTER TABLE service_spans DETACH PARTITION {name} CONCURRENTLY")
    await reading.rollback()


class TestBytesAndDisk:
    async def test_the_oldest_closed_partition_goes_while_the_tables_are_larger_than_the_limit(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        await make_partition(sql, "service_spans", 5, rows=1)
        await make_partition(sql, "service_logs", 4, rows=1)
        await make_partition(sql, "service_spans", 3, rows=1)
        total = await sql.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent IN "
            "('service_spans'::regclass, 'service_logs'::regclass, 'metric_samples'::regclass, "
            "'metric_distributions'::regclass)"
        )
        keeper = Keeper(database_url, RetentionSettings(max_bytes=int(total) - 1))
        await keeper.run()
        assert [(table, reason) for table, reason, _ in keeper.counted.drops] == [("service_spans", "bytes")]
        keeper.settings = RetentionSettings(max_bytes=1)
        await keeper.run()
        assert name_of("service_logs", 4) not in await names(sql)
        assert len(await names(sql)) == 4 * (KEPT_READY - 2), "what is open or yet to come stays, whatever its size"

    async def test_when_the_disk_is_nearly_full_the_oldest_go_until_it_is_not(
        self, database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        for days_ago in (5, 4, 3):
            await make_partition(sql, "service_spans", days_ago)
        looks = iter([Disk(96 * 10**10, 4 * 10**10), Disk(96 * 10**10, 4 * 10**10), Disk(95 * 10**10, 5 * 10**10)])
        keeper = Keeper(database_url, disk=lambda: next(looks), settle=timedelta(hours=1))
        with caplog.at_level(logging.WARNING):
            await keeper.run()
        assert [(table, reason) for table, reason, _ in keeper.counted.drops] == [("service_spans", "disk")] * 2
        assert name_of("service_spans", 3) in await names(sql)
        assert keeper.counted.full == [True, True, False]
        assert caplog.text.count("has to go") == 2

    async def test_a_disk_that_fills_between_two_runs_is_noticed(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        disks = [Disk(1, 10**12)]
        keeper = Keeper(database_url, disk=lambda: disks[0], interval=3600, disk_interval=0.05)
        await keeper.maintenance.start()
        await eventually(lambda: asyncio.sleep(0, bool(keeper.counted.full)))
        disks[0] = Disk(10**12, 5)
        await eventually(lambda: asyncio.sleep(0, len(keeper.counted.drops) == 8))
        await keeper.maintenance.stop()

    async def test_an_open_partition_never_goes_however_full_the_disk_is(
        self, database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        keeper = Keeper(database_url, disk=lambda: Disk(10**12, 5))
        await keeper.run()
        assert len(await names(sql)) == 4 * (KEPT_READY - 2)
        assert "no closed partition is left" in caplog.text
        await insert_span(sql, 1, start_time=now())


def test_a_disk_is_nearly_full_by_percent_or_by_free_bytes() -> None:
    assert Disk(96, 4 * 2**30).nearly_full(95) is False
    assert Disk(96 * 2**30, 4 * 2**30).nearly_full(95)
    assert not Disk(96 * 2**30, 4 * 2**30).nearly_full(97)
    assert Disk(0, 2**30 - 1).nearly_full(100)


async def test_partitions_are_made_and_listed_while_somebody_holds_one_of_them_locked(
    sql: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    await sql.execute(f"DROP TABLE {name_of('service_spans', -3)}")
    async with other.transaction():
        await other.execute(f"LOCK TABLE {name_of('service_spans', 1)} IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(30):
            assert await ensure_partitions(sql) == [name_of("service_spans", -3)]
            await read_windows(sql)
