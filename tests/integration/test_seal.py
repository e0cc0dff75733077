"""Sealing: a closed partition gets its search indexes, and whatever goes wrong with one does not stop the others."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import asyncpg
import pytest

from ares_otel.storage.partitions import Partition
from ares_otel.storage.partitions.seal import SEARCH_INDEXES, Sealer, sealable
from ares_otel.storage.partitions.settings import SealSettings
from tests.support.partitions import Counting, Keeper, break_off, day, make_partition, name_of
from tests.support.stored_rows import insert_log, insert_span, now

pytestmark = pytest.mark.every_server


async def indexes(sql: asyncpg.Connection, table: str) -> dict[str, bool]:
    """Index name → whether it is valid."""
    rows = await sql.fetch(
        "SELECT i.indexrelid::regclass::text AS name, i.indisvalid FROM pg_index i WHERE i.indrelid = to_regclass($1)",
        table,
    )
    return {row["name"]: row["indisvalid"] for row in rows}


def expected(table: str, days_ago: int) -> set[str]:
    return {index.name(name_of(table, days_ago)) for index in SEARCH_INDEXES[table]}


async def test_closed_partitions_are_sealed_and_open_ones_are_not(database_url: str, sql: asyncpg.Connection) -> None:
    keeper = Keeper(database_url)
    await keeper.seal(grace_hours=0)
    assert sorted(keeper.counted.seals) == sorted(
        2 * ["service_spans", "service_logs", "metric_samples", "metric_distributions"]
    )
    for table in ("service_spans", "service_logs"):
        for days_ago in (1, 2):
            found = await indexes(sql, name_of(table, days_ago))
            assert expected(table, days_ago) < set(found)
            assert all(found.values())
        assert not expected(table, 0) & set(await indexes(sql, name_of(table, 0)))
    await keeper.seal(grace_hours=0)
    assert len(keeper.counted.seals) == 8, "each once"
    assert await sql.fetchval("SELECT count(*) FROM partition_jobs WHERE sealed_at IS NOT NULL") == 8


async def test_sealing_waits_for_the_grace_can_be_switched_off_and_makes_room_for_ingest(
    database_url: str, sql: asyncpg.Connection
) -> None:
    keeper = Keeper(database_url)
    await keeper.seal(grace_hours=24 * 4)
    await keeper.seal(grace_hours=0, enabled=False)
    busy = Keeper(database_url, busy=lambda: True)
    await busy.seal(grace_hours=0)
    assert keeper.counted.seals == busy.counted.seals == []


async def test_late_rows_still_arrive_and_are_found_by_the_search_index(
    database_url: str, sql: asyncpg.Connection
) -> None:
    await Keeper(database_url).seal(grace_hours=0)
    late = day(1) + timedelta(hours=12)
    await insert_span(sql, 1, start_time=late, attributes={"order.id": 815}, status="error")
    async with sql.transaction():
        await sql.execute("SET LOCAL enable_seqscan = off")
        query = f"SELECT span_id FROM {name_of('service_spans', 1)} WHERE attributes @> '{{\"order.id\": 815}}'"
        plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}"))
        assert "attributes_gin" in plan
        assert len(await sql.fetch(query)) == 1


async def test_values_and_names_of_a_megabyte_do_not_stop_a_seal(database_url: str, sql: asyncpg.Connection) -> None:
    late = day(1) + timedelta(hours=12)
    huge = "".join(uuid.uuid4().hex for _ in range(32 * 1024))
    await insert_span(
        sql, 1, start_time=late, operation_name=huge, status="error", status_message=huge, attributes={"a": huge}
    )
    await insert_log(sql, timestamp=late, message=huge, metadata={huge: huge}, log_level="ERROR", event_name=huge)
    keeper = Keeper(database_url)
    await keeper.seal(grace_hours=0)
    assert keeper.counted.failures == []
    assert len(keeper.counted.seals) == 8


async def test_an_index_that_was_broken_off_is_built_again(database_url: str, sql: asyncpg.Connection) -> None:
    partition = name_of("service_logs", 1)
    index = SEARCH_INDEXES["service_logs"][0]
    reader = await asyncpg.connect(database_url)
    reading = reader.transaction(isolation="repeatable_read")
    await reading.start()
    await reader.fetchval("SELECT count(*) FROM service_logs")
    await break_off(
        database_url, f"CREATE INDEX CONCURRENTLY {index.name(partition)} ON {partition} {index.definition}"
    )
    await reading.rollback()
    await reader.close()
    assert (await indexes(sql, partition))[index.name(partition)] is False
    await Keeper(database_url).seal(grace_hours=0)
    assert (await indexes(sql, partition))[index.name(partition)] is True


_FILL = """
INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms, duration_ns)
SELECT gen_random_uuid(), '\\x0102030405060708', 'service ' || g % 10, 'GET', 'server',
       $1::timestamptz + g * interval '1 ms', 1, 1000000
FROM generate_series(1, 40000) g
"""


async def _loaded_indexes(sql: asyncpg.Connection, partition: str) -> int:
    """Bytes of the B-trees that the partition was filled with."""
    size: int = await sql.fetchval(
        "SELECT sum(pg_relation_size(x.oid))::bigint FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
        "WHERE i.indrelid = to_regclass($1) AND x.relispartition",
        partition,
    )
    return size


async def test_the_indexes_that_grew_row_by_row_are_built_anew_and_stay_those_of_the_table(
    database_url: str, sql: asyncpg.Connection
) -> None:
    partition = name_of("service_spans", 1)
    await sql.execute(_FILL, day(1) + timedelta(hours=12))
    grown = await _loaded_indexes(sql, partition)
    before = await indexes(sql, partition)
    # What a rebuild leaves that was broken off.
    left = f"{partition}_trace_id_idx_ccnew"
    await sql.execute(f"CREATE INDEX {left} ON {partition} (trace_id)")
    await sql.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass($1)", left)
    keeper = Keeper(database_url)
    await keeper.seal(grace_hours=0, rebuild=False)
    assert await _loaded_indexes(sql, partition) == grown
    assert left not in await indexes(sql, partition)
    await sql.execute("UPDATE partition_jobs SET sealed_with = NULL")
    await keeper.seal(grace_hours=0)
    assert keeper.counted.failures == []
    assert await _loaded_indexes(sql, partition) < grown * 0.9
    after = await indexes(sql, partition)
    assert set(after) == set(before) | expected("service_spans", 1)
    assert all(after.values())


async def test_a_seal_that_fails_is_counted_logged_once_and_tried_again_later_and_the_others_go_on(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    partition = name_of("service_spans", 1)
    await make_partition(sql, "service_spans", 3)
    # A relation of the index's name that is no index: it cannot be built.
    await sql.execute(f"CREATE TABLE {SEARCH_INDEXES['service_spans'][0].name(partition)} ()")
    keeper = Keeper(database_url)
    with caplog.at_level(logging.WARNING):
        await keeper.seal(grace_hours=0)
        assert keeper.counted.failures == ["seal"]
        assert len(keeper.counted.seals) == 8
        await keeper.seal(grace_hours=0)
        assert keeper.counted.failures == ["seal"], "not before its time"
        await sql.execute("UPDATE partition_jobs SET failed_at = failed_at - interval '61 seconds' WHERE failures = 1")
        await keeper.seal(grace_hours=0)
    assert keeper.counted.failures == ["seal", "seal"]
    assert caplog.text.count("could not be sealed") == 1
    row = await sql.fetchrow("SELECT failures, last_error FROM partition_jobs WHERE partition_name = $1", partition)
    assert row is not None
    assert row["failures"] == 2
    assert "already exists" in row["last_error"]
    await sql.execute(f"DROP TABLE {SEARCH_INDEXES['service_spans'][0].name(partition)}")
    await sql.execute("UPDATE partition_jobs SET failed_at = failed_at - interval '121 seconds' WHERE failures = 2")
    await keeper.seal(grace_hours=0)
    assert len(keeper.counted.seals) == 9


async def test_the_session_that_builds_keeps_to_its_budget(sql: asyncpg.Connection) -> None:
    settings = SealSettings(grace_hours=0, memory_mb=17, workers=1, pause_seconds=0)
    counted = Counting()
    await Sealer(sql, lambda: settings, now(), observer=counted).run()
    assert len(counted.seals) == 8
    assert await sql.fetchval("SHOW maintenance_work_mem") == "17MB"
    assert await sql.fetchval("SHOW max_parallel_maintenance_workers") == "1"


async def test_a_statement_that_takes_longer_than_its_time_is_given_up(
    database_url: str, sql: asyncpg.Connection
) -> None:
    reader = await asyncpg.connect(database_url)
    reading = reader.transaction(isolation="repeatable_read")
    await reading.start()
    await reader.fetchval("SELECT count(*) FROM service_logs")  # an index cannot be finished while this can see it
    settings = SealSettings(grace_hours=0, timeout_minutes=0.005, pause_seconds=0)
    counted = Counting()
    await Sealer(sql, lambda: settings, now(), observer=counted).run()
    assert counted.failures.count("seal") >= 4
    await reading.rollback()
    await reader.close()


async def test_a_partition_that_was_sealed_with_fewer_indexes_gets_the_new_ones(
    database_url: str, sql: asyncpg.Connection
) -> None:
    await Keeper(database_url).seal(grace_hours=0)
    new = SEARCH_INDEXES["service_spans"][-1]
    for days_ago in (1, 2):
        await sql.execute(f"DROP INDEX {new.name(name_of('service_spans', days_ago))}")
    await sql.execute("UPDATE partition_jobs SET sealed_with = 1 WHERE table_name = 'service_spans'")
    keeper = Keeper(database_url)
    await keeper.seal(grace_hours=0)
    assert keeper.counted.seals == ["service_spans", "service_spans"]
    for days_ago in (1, 2):
        assert expected("service_spans", days_ago) < set(await indexes(sql, name_of("service_spans", days_ago)))


async def test_a_short_partition_is_sealed_as_long_after_its_end_as_it_is_long() -> None:
    end = now()
    short = Partition("service_spans", end - timedelta(minutes=10), end, "short")
    whole = Partition("service_spans", end - timedelta(days=1), end, "day")
    settings = SealSettings(grace_hours=3)
    assert sealable([short, whole], set(), settings, end + timedelta(minutes=9)) == []
    assert sealable([short, whole], set(), settings, end + timedelta(minutes=10)) == [short]
    assert sealable([short, whole], {"short"}, settings, end + timedelta(hours=3)) == [whole]
