"""A pinned trace survives retention, whole and once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from ares_otel.query import pinned
from ares_otel.query.pinned import find_pinned, pin_trace, unpin_trace
from ares_otel.query.reader import DatabaseUnavailable
from ares_otel.query.trace_prefix import traces_with_prefix
from ares_otel.query.trace_stream import stream_trace
from ares_otel.query.traces import find_trace
from ares_otel.storage.partitions import Partition, read_windows
from ares_otel.storage.partitions.removal import detach, drop_detached, finish_detaches
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.pinned import keeping
from ares_otel.storage.pinned.keeping import keep_pinned
from ares_otel.storage.pinned.tables import COLUMNS, COPIES, LOCK
from tests.support.encoders import encode_batch
from tests.support.eventually import eventually
from tests.support.maintenance_process import start as start_maintenance
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import batch_of, log_record, logs_request, pairs, span, trace_request
from tests.support.partitions import Keeper, day, make_partition, names
from tests.support.rows_store import store
from tests.support.stored_rows import TRACE, insert_log, insert_span, now

HOUR = timedelta(hours=1)
OLD = 31
"""Days ago: a partition of then has to go."""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as made:
        yield made


@pytest.fixture
async def old(sql: asyncpg.Connection) -> list[Partition]:
    """Partitions of spans and log records that retention drops when it runs."""
    return [await make_partition(sql, table, OLD) for table in COPIES]


async def operations(pool: asyncpg.Pool, trace_id: UUID = TRACE) -> Counter[str]:
    """Names of the spans; both readers must agree on them."""
    found = await find_trace(pool, trace_id)
    streamed = [
        span.name
        async for chunk in stream_trace(pool, trace_id, chunk_spans=2)
        for r in chunk.resource_spans
        for s in r.scope_spans
        for span in s.spans
    ]
    assert Counter(streamed) == Counter(place.row.operation_name for place in (found.spans if found else []))
    return Counter(streamed)


async def messages(pool: asyncpg.Pool) -> list[str | None]:
    found = await find_trace(pool, TRACE)
    return [row.message for row in found.logs] if found else []


async def whole(pool: asyncpg.Pool) -> TracesData:
    data = TracesData()
    async for chunk in stream_trace(pool, TRACE):
        data.MergeFrom(chunk)
    return data


async def test_a_pinned_trace_is_there_as_it_was_sent_when_its_partitions_are_gone(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str, old: list[Partition]
) -> None:
    """With resources and scopes, which nothing else refers to any more, and what jsonb cannot hold."""
    at = int((day(OLD) + HOUR).timestamp()) * 10**9 + 123
    values = {"nan": float("nan"), "bytes": b"\x00\xff", "zero": -0.0, "double": 1.0}
    spans = [
        span(trace_id=TRACE.bytes, start_time_unix_nano=at, end_time_unix_nano=at + 7),
        span(
            trace_id=TRACE.bytes,
            start_time_unix_nano=at + 1,
            end_time_unix_nano=at,
            attributes=pairs(values),
            events=[Span.Event(name="e", time_unix_nano=at, attributes=pairs(values))],
            links=[Span.Link(trace_id=b"x" * 16, span_id=b"y" * 8)],
        ),
    ]
    record = log_record(trace_id=TRACE.bytes, time_unix_nano=at + 2, attributes=pairs(values))
    for request in (trace_request(spans=[*spans, spans[0]]), logs_request(records=[record])):
        await store(sql, encode_batch(batch_of(request), await read_windows(sql)))
    before, logs = items_of(await whole(pool)), await sql.fetch("SELECT * FROM service_logs")
    assert before == items_of(trace_request(spans=[*spans, spans[0]]))
    made = await pin_trace(pool, TRACE, "ada")
    assert made is not None
    assert (made.spans, made.logs, made.pinned_by) == (3, 1, "ada")
    assert items_of(await whole(pool)) == before, "pinning changes nothing"

    await sql.execute("UPDATE otel_resources SET last_seen = now() - interval '1 year'")
    await sql.execute("UPDATE otel_scopes SET last_seen = now() - interval '1 year'")
    assert await Keeper(database_url).run()
    assert not {partition.name for partition in old} & set(await names(sql))
    assert items_of(await whole(pool)) == before
    assert await sql.fetch("SELECT * FROM pinned_logs") == logs
    assert (await find_trace(pool, TRACE)).logs[0].id == logs[0]["id"]  # type: ignore[union-attr]

    await unpin_trace(pool, TRACE)
    assert await Keeper(database_url).run()
    assert await sql.fetchval("SELECT count(*) FROM otel_resources") == 0, "now nothing refers to it"
    assert await sql.fetchval("SELECT count(*) FROM otel_scopes") == 0


async def test_late_rows_are_copied_when_their_partition_leaves(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str, old: list[Partition]
) -> None:
    await insert_span(sql, 1, start_time=day(OLD) + HOUR)
    await pin_trace(pool, TRACE, None)
    await insert_span(sql, 2, start_time=day(OLD) + 2 * HOUR)
    await insert_log(sql, trace_id=TRACE, timestamp=day(OLD))
    await insert_span(sql, 9, trace_id=UUID(int=9), start_time=day(OLD))
    assert await Keeper(database_url).run()
    assert await operations(pool) == Counter(["operation 1", "operation 2"])
    assert await messages(pool) == ["hello"]
    assert await operations(pool, UUID(int=9)) == Counter()
    [row] = (await find_pinned(pool, limit=5)).rows
    assert (row.spans, row.logs, row.left_out) == (2, 1, 0)
    assert (row.first_time, row.last_time) == (day(OLD), day(OLD) + 2 * HOUR)
    stored = await sql.fetchval("SELECT sum(pg_column_size(p.*)) FROM pinned_spans p")
    stored += await sql.fetchval("SELECT sum(pg_column_size(p.*)) FROM pinned_logs p")
    assert row.bytes == stored


async def test_half_in_partitions_and_half_pinned_each_span_shows_once_and_what_was_sent_twice_twice(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str, old: list[Partition]
) -> None:
    await make_partition(sql, "service_spans", OLD - 1)
    for number in (1, 2, 2):
        await insert_span(sql, number, start_time=day(OLD) + HOUR)
    for number in (3, 4, 4):
        await insert_span(sql, number, start_time=day(OLD - 1) + HOUR)
    expected = Counter({"operation 1": 1, "operation 2": 2, "operation 3": 1, "operation 4": 2})
    await pin_trace(pool, TRACE, "ada")
    assert await operations(pool) == expected
    await insert_span(sql, 4, start_time=day(OLD - 1) + HOUR)  # and once more, late
    expected["operation 4"] += 1
    assert await Keeper(database_url, RetentionSettings(days=30)).run()
    left = await names(sql, "service_spans")
    assert old[0].name not in left
    assert await operations(pool) == expected
    assert await Keeper(database_url, RetentionSettings(days=20)).run()
    assert len(await names(sql, "service_spans")) == len(left) - 1
    assert await operations(pool) == expected
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 0


async def test_rows_of_a_partition_that_is_detached_and_not_yet_dropped_show(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str, old: list[Partition]
) -> None:
    """A process may die between the two; the next run goes on, and copies nothing twice."""
    await insert_span(sql, 1, start_time=day(OLD) + HOUR)
    await pin_trace(pool, TRACE, None)
    await insert_span(sql, 2, start_time=day(OLD) + HOUR)
    async with sql.transaction():
        assert await keep_pinned(sql, old[0], last=False) == 1
    await insert_span(sql, 3, start_time=day(OLD) + HOUR)
    keeper = Keeper(database_url)
    await sql.execute(
        "INSERT INTO partition_jobs (partition_name, table_name, range_start, range_end, leaving_since, "
        "leaving_reason, detach_began) VALUES ($1, $2, $3, $4, now(), 'age', now())",
        old[0].name,
        old[0].table,
        old[0].start,
        old[0].end,
    )
    await detach(sql, old[0])
    assert await operations(pool) == Counter(["operation 1", "operation 2"])
    assert await keeper.run()
    assert await operations(pool) == Counter(["operation 1", "operation 2", "operation 3"])


async def test_a_partition_that_leaves_while_a_pinned_trace_is_read_leaves_no_gap(
    pool: asyncpg.Pool, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, old: list[Partition]
) -> None:
    """The stream is in an earlier range then; of the later one it shows the copies. The detach waits for it, in vain
    here, but nobody sees the partition any more."""
    monkeypatch.setattr("ares_otel.query.ranges.PARTITIONS_AT_ONCE", 1)
    await make_partition(sql, "service_spans", OLD + 1)
    for number in range(20):
        await insert_span(sql, number, start_time=day(OLD + 1) + number * timedelta(hours=1.2) + 12 * HOUR)
    assert await pin_trace(pool, TRACE, None)
    seen: list[str] = []
    async with contextlib.aclosing(stream_trace(pool, TRACE, chunk_spans=1)) as chunks:
        async for chunk in chunks:
            if not seen:
                async with sql.transaction():
                    assert await keep_pinned(sql, old[0], last=False) == 0
                with pytest.raises(TimeoutError):
                    await detach(sql, old[0], patience=0.2)
                assert await sql.fetchval("SELECT count(*) FROM service_spans") == 10
            seen += [span.name for r in chunk.resource_spans for s in r.scope_spans for span in s.spans]
    assert seen == [f"operation {number}" for number in range(20)]
    assert await finish_detaches(sql) == [old[0].name]
    await drop_detached(sql, old[0])
    assert len(await operations(pool)) == 20


async def test_an_unpinned_trace_goes_with_its_partitions(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str, old: list[Partition]
) -> None:
    await insert_span(sql, 1, start_time=day(OLD))
    await insert_span(sql, 2, start_time=day(OLD) + 24 * HOUR - timedelta(microseconds=1))
    await pin_trace(pool, TRACE, "ada")
    gone = await unpin_trace(pool, TRACE)
    assert gone is not None
    assert gone.pinned_by == "ada"
    assert await unpin_trace(pool, TRACE) is None
    assert len(await operations(pool)) == 2, "its partition is still there"
    assert await Keeper(database_url).run()
    assert await operations(pool) == Counter()
    for table in ("pinned_traces", "pinned_spans", "pinned_logs"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_kill_at_any_moment_loses_no_pinned_row_and_copies_none_twice(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str
) -> None:
    """kill -9 while partitions leave, again and again, with late rows; then one whole run."""
    chance = random.Random(20_261_127)
    for number in range(4):
        partition = await make_partition(sql, "service_spans", OLD + number)
        await make_partition(sql, "service_logs", OLD + number)
        for copy in range(20):
            await insert_span(sql, 100 * number + copy, start_time=partition.start + HOUR)
        await insert_span(sql, 100 * number, start_time=partition.start + HOUR)
        await insert_log(sql, trace_id=TRACE, timestamp=partition.start)
    assert await pin_trace(pool, TRACE, None)
    for number in range(4):
        await insert_span(sql, 100 * number + 99, start_time=day(OLD + number) + HOUR)
    for _ in range(2):
        process = await asyncio.to_thread(start_maintenance, database_url)
        await asyncio.sleep(chance.uniform(0, 0.15))  # not to wait for something, but to strike anywhere
        process.kill()
        process.communicate()
    assert await eventually(Keeper(database_url).run)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 0
    seen = await operations(pool)
    assert seen["operation 0"] == 2
    assert sum(seen.values()) == 4 * 22
    assert len(await messages(pool)) == 4
    [row] = (await find_pinned(pool, limit=5)).rows
    assert (row.spans, row.logs) == (4 * 22, 4)


async def test_two_processes_that_pin_at_once_copy_once(database_url: str, sql: asyncpg.Connection) -> None:
    for number in range(50):
        await insert_span(sql, number)

    async def pin(by: str) -> Any:
        async with asyncpg.create_pool(database_url, min_size=0, max_size=1) as pool:
            return await pin_trace(pool, TRACE, by)

    made = await asyncio.gather(*(pin(name) for name in ("ada", "bob", "cyd", "dee")))
    assert made[0] is not None
    assert all(trace == made[0] for trace in made), "the first one is who pinned it"
    assert await sql.fetchval("SELECT count(*) FROM pinned_spans") == 50


async def test_a_pin_and_a_run_of_retention_take_turns(
    pool: asyncpg.Pool, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "LOCK_SECONDS", 0.01)
    await insert_span(sql, 1)
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        with pytest.raises(DatabaseUnavailable):
            await pin_trace(pool, TRACE, None)
    assert await pin_trace(pool, TRACE, None) is not None


async def test_there_is_nothing_to_pin_of_an_unknown_trace(pool: asyncpg.Pool) -> None:
    assert await pin_trace(pool, TRACE, "ada") is None
    assert (await find_pinned(pool, limit=5)).rows == []


async def test_a_trace_that_grows_for_ever_is_kept_up_to_a_bound_and_the_rest_is_counted(
    pool: asyncpg.Pool,
    sql: asyncpg.Connection,
    database_url: str,
    old: list[Partition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "MAX_ROWS", 3)
    await insert_span(sql, 1, start_time=day(OLD))
    await pin_trace(pool, TRACE, None)
    for number in range(2, 7):
        await insert_span(sql, number, start_time=day(OLD) + number * HOUR)
    assert await Keeper(database_url).run()
    [row] = (await find_pinned(pool, limit=5)).rows
    assert (row.spans, row.left_out) == (3, 3)


async def test_rows_of_a_service_that_is_kept_shorter_stay_while_their_trace_is_pinned(
    pool: asyncpg.Pool, sql: asyncpg.Connection, database_url: str
) -> None:
    await make_partition(sql, "service_spans", 5)
    await make_partition(sql, "service_logs", 5)
    for trace_id in (TRACE, UUID(int=9)):
        await insert_span(sql, 1, trace_id=trace_id, start_time=day(5))
        await insert_log(sql, trace_id=trace_id, timestamp=day(5))
    await insert_log(sql, trace_id=None, timestamp=day(5))
    await pin_trace(pool, TRACE, None)
    await insert_span(sql, 2, start_time=day(5))  # late: no copy of it yet
    assert await Keeper(database_url, RetentionSettings(service_days={"orders": 1.0})).run()
    assert await operations(pool) == Counter(["operation 1", "operation 2"])
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 2
    assert await sql.fetchval("SELECT count(*) FROM service_logs") == 1


async def test_pages_of_pinned_traces_come_latest_first(pool: asyncpg.Pool, sql: asyncpg.Connection) -> None:
    for number in range(1, 6):
        await insert_span(sql, 1, trace_id=UUID(int=number))
        await pin_trace(pool, UUID(int=number), f"somebody with a name of {'x' * 300}\0")
    seen, after = [], None
    while True:
        page = await find_pinned(pool, limit=2, after=after)
        seen += page.rows
        if (after := page.next) is None:
            break
    assert [row.trace_id.int for row in seen] == [5, 4, 3, 2, 1]
    assert {len(row.pinned_by or "") for row in seen} == {255}


@pytest.mark.parametrize("table", COPIES)
async def test_copies_have_the_columns_of_the_telemetry_table(sql: asyncpg.Connection, table: str) -> None:
    """A migration that adds a column to one adds it to the other, in the same place; log records need a trace."""
    query = """
        SELECT attname, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
        FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
    """
    columns = await sql.fetch(query, table)
    assert await sql.fetch(query, COPIES[table]) == columns
    assert {row["attname"] for row in columns} == set(COLUMNS[table])


async def test_searches_back_in_time_reach_a_pinned_trace_before_the_oldest_partition(
    pool: asyncpg.Pool,
    sql: asyncpg.Connection,
    database_url: str,
    old: list[Partition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where a part of it, days later, is still in partitions: it was pinned as one."""
    monkeypatch.setattr("ares_otel.query.ranges.PARTITIONS_AT_ONCE", 1)
    await insert_span(sql, 1, start_time=day(OLD))
    await pin_trace(pool, TRACE, None)
    await Keeper(database_url).run()
    assert await traces_with_prefix(pool, TRACE.hex[:9]) == [TRACE]
    await insert_span(sql, 2, start_time=now())
    assert await operations(pool) == Counter(["operation 1", "operation 2"])
    assert await traces_with_prefix(pool, TRACE.hex[:9]) == [TRACE]
