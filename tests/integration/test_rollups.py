"""Roll-ups: merged counts say what the rows say, whatever happens to the job in between."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.cli.rollups import TelemetryRollupObserver, rollup_job
from ares_otel.control.config.schema import problem_of
from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.query.services import service_performance, system_health
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rollups import aging, last_hour
from ares_otel.storage.rollups.histogram import percentiles
from ares_otel.storage.rollups.job import INTERVAL, LOCK, Rollups
from ares_otel.storage.rollups.logs import merge_logs
from ares_otel.storage.rollups.spans import merge_spans
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.store import Store
from tests.support.eventually import eventually
from tests.support.managed_config import arrives, managed, put
from tests.support.otlp_samples import log_record, logs_request, span, trace_request
from tests.support.rollups import differences, no_job_works, run_once
from tests.support.spooling import batch

MINUTE = 60_000_000_000
ERROR = Status(code=Status.STATUS_CODE_ERROR)


def some_spans(number: int, source: random.Random, *, minutes: int = 3, before: int = 0) -> list[Any]:
    """Spans of the last minutes, of a few operations, with durations of all sizes."""
    now = time.time_ns()
    spans = []
    for _ in range(number):
        start = now - before * MINUTE - source.randrange(minutes * MINUTE)
        spans.append(
            span(
                name=source.choice(["GET /a", "GET /b", "SELECT", "x" * 300]),
                kind=source.randrange(6),
                start_time_unix_nano=start,
                end_time_unix_nano=start + int(source.lognormvariate(16, 3)) * source.choice([0, 1, 1, 1]),
                status=ERROR if source.random() < 0.2 else None,
            )
        )
    return spans


async def send(store: Store, service: str, spans: list[Any]) -> None:
    await store.consume(batch(TRACES, trace_request(service, spans)))


@pytest.fixture
async def pool(database_url: str) -> Any:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield pool


@pytest.mark.every_server
async def test_merged_minutes_say_what_the_spans_say(store: Store, sql: asyncpg.Connection) -> None:
    source = random.Random(1)
    for number in range(6):
        await send(store, f"service-{number % 3}", some_spans(80, source))
        if number % 2:
            assert await run_once(store.connect, batch=7)
    assert await differences(sql) == (set(), set())
    assert await sql.fetchval("SELECT count(*) FROM span_rollup_increments") == 0
    rows = await sql.fetch("SELECT buckets, counts, calls FROM span_rollups")
    assert all(sum(row["counts"]) == row["calls"] and row["buckets"] == sorted(set(row["buckets"])) for row in rows)


@pytest.mark.every_server
@pytest.mark.parametrize("merged", ["nothing", "a part", "everything"])
async def test_performance_is_what_the_view_says(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool, merged: str
) -> None:
    source = random.Random(2)
    await send(store, "a", some_spans(300, source))
    if merged != "nothing":
        await run_once(store.connect)
    if merged != "everything":
        await send(store, "a", some_spans(300, source))
        await send(store, "b", some_spans(20, source))
    exact = await service_performance(pool, exact=True)
    found = await service_performance(pool)
    shortened = [(row.service_name, row.operation_name[:255], row.call_count, row.error_count) for row in exact.rows]
    assert [(row.service_name, row.operation_name, row.call_count, row.error_count) for row in found.rows] == shortened
    for row, like in zip(found.rows, exact.rows, strict=True):
        for name in ("p50_ms", "p95_ms", "p99_ms"):
            assert getattr(row, name) == pytest.approx(getattr(like, name), rel=0.0056), name
        assert row.avg_duration_ms == pytest.approx(like.avg_duration_ms)
    assert (await service_performance(pool, "b")).rows == [row for row in found.rows if row.service_name == "b"]
    assert timedelta(minutes=60) <= datetime.now(UTC) - found.since < timedelta(minutes=62)


@pytest.mark.every_server
async def test_health_is_what_the_view_says(store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    await sql.execute("INSERT INTO service_registry (name, instance_id) VALUES ('a', '1'), ('b', '1'), ('silent', '1')")
    ids = [number.to_bytes(16, "big") for number in range(1, 200)]
    source = random.Random(3)

    async def records(service: str) -> None:
        sent = [log_record(trace_id=source.choice(ids), severity_number=source.choice([9, 17])) for _ in range(50)]
        await store.consume(batch(LOGS, logs_request(service, sent)))

    await records("a")
    await records("b")
    await run_once(store.connect)
    await records("a")
    await records("unregistered")
    exact = [
        (row.service_name, row.active_traces, row.error_count_1h)
        for row in (await system_health(pool, exact=True)).rows
    ]
    found = [(row.service_name, row.active_traces, row.error_count_1h) for row in (await system_health(pool)).rows]
    assert found == exact
    assert [name for name, *_ in found] == ["a", "b", "silent"]


async def test_many_traces_are_estimated_within_a_few_percent(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await sql.execute("INSERT INTO service_registry (name, instance_id) VALUES ('a', '1')")
    for part in range(10):
        records = [log_record(trace_id=(part * 900 + number + 1).to_bytes(16, "big")) for number in range(1000)]
        await store.consume(batch(LOGS, logs_request("a", records)))
        if part % 3 == 0:
            await run_once(store.connect)
    (row,) = (await system_health(pool)).rows
    assert row.active_traces == pytest.approx(9100, rel=0.15)


@pytest.mark.every_server
async def test_the_hour_moves_on_and_is_as_if_made_anew(store: Store, sql: asyncpg.Connection) -> None:
    source = random.Random(4)
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=65)
    await sql.execute("UPDATE rollup_state SET last_hour_start = $1", start)
    await send(store, "a", some_spans(400, source, minutes=70))
    await send(store, "b", some_spans(20, source, minutes=2, before=62))
    old = [
        log_record(trace_id=bytes([n + 1]) + bytes(15), time_unix_nano=time.time_ns() - n * 3 * MINUTE)
        for n in range(23)
    ]
    await store.consume(batch(LOGS, logs_request("a", old)))
    async with transaction(sql):  # in which it does not become later
        await merge_spans(sql, 10_000, timedelta(days=1))
        await merge_logs(sql, 10_000)
        assert await sql.fetchval("SELECT count(DISTINCT service_name) FROM operations_last_hour") == 2
        assert await last_hour.move(sql)
        moved = await hour_of(sql)
        assert not await last_hour.move(sql)
        await sql.execute("UPDATE rollup_state SET last_hour_start = NULL")
        assert await last_hour.move(sql)
        assert await hour_of(sql) == moved
    assert {row[1] for row in moved[0]} == {row[1] for row in moved[1]} == {"a"}


async def hour_of(sql: asyncpg.Connection) -> tuple[list[Any], list[Any]]:
    operations = await sql.fetch("SELECT * FROM operations_last_hour ORDER BY 1, 2, 3")
    logs = await sql.fetch("SELECT * FROM logs_last_hour ORDER BY 1, 2")
    return [tuple(row) for row in operations], [tuple(row) for row in logs]


async def test_an_hour_that_nobody_keeps_up_is_answered_from_its_minutes(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await send(store, "a", some_spans(200, random.Random(5), minutes=50))
    await run_once(store.connect)
    ready = await service_performance(pool)
    await sql.execute("UPDATE rollup_state SET last_hour_start = last_hour_start - interval '3 hours'")
    by_minute = await service_performance(pool)
    assert [row.call_count for row in by_minute.rows] == [row.call_count for row in ready.rows]
    assert [row.p95_ms for row in by_minute.rows] == pytest.approx([row.p95_ms for row in ready.rows])


async def test_an_operation_of_several_tenants_is_one_row_of_the_answer(
    store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await sql.execute("INSERT INTO service_registry (name, instance_id) VALUES ('a', '1')")
    now = time.time_ns()
    for tenant_id in (0, 1):
        request = trace_request("a", [span(name="GET", start_time_unix_nano=now, end_time_unix_nano=now + 10**6)])
        records = logs_request("a", [log_record(trace_id=bytes([tenant_id + 1, *range(15)]))])
        for signal, message in ((TRACES, request), (LOGS, records)):
            payload = message.SerializeToString()
            await store.consume(
                Batch(signal, payload, tenant_id=tenant_id, received_ns=now, receiver="t", transport="t")
            )
        if not tenant_id:
            await run_once(store.connect)
    for _ in range(2):
        (row,) = (await service_performance(pool)).rows
        assert row.call_count == 2
        assert row.p50_ms == pytest.approx(1, rel=0.0055)
        (service,) = (await system_health(pool)).rows
        assert service.active_traces == 2
        await run_once(store.connect)


async def test_the_longest_names_are_merged(store: Store, sql: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    """They stand in keys, of which an index takes 2,704 bytes."""
    await send(store, "\U0001f600" * 300, [span(name="\U0001f680" * 300, kind=-(2**31))])
    await run_once(store.connect)
    assert await differences(sql) == (set(), set())
    (row,) = (await service_performance(pool)).rows
    assert (row.service_name, row.operation_name) == ("\U0001f600" * 255, "\U0001f680" * 255)


async def test_of_two_jobs_one_works(store: Store, sql: asyncpg.Connection) -> None:
    await send(store, "a", some_spans(10, random.Random(6)))
    await sql.execute("SELECT pg_advisory_lock($1)", LOCK)
    assert not await run_once(store.connect)
    await sql.execute("SELECT pg_advisory_unlock($1)", LOCK)
    assert await run_once(store.connect)
    assert await differences(sql) == (set(), set())


async def test_a_job_that_is_killed_between_any_two_statements_loses_and_doubles_nothing(
    store: Store, sql: asyncpg.Connection
) -> None:
    """The server ends its connection at the n-th statement, for every n."""
    source = random.Random(7)
    for number in range(1, 100):
        await send(store, "a", some_spans(10, source))
        killed = False

        async def connect(limit: int = number) -> asyncpg.Connection:
            connection = await store.connect()
            left = limit

            def count(record: Any) -> None:
                nonlocal left, killed
                left -= 1
                if not left:
                    killed = True
                    connection.terminate()

            connection.add_query_logger(count)
            return connection

        try:
            await run_once(connect)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            assert killed
        if not killed:
            break
    else:
        pytest.fail("A round has fewer statements than that.")
    await eventually(lambda: no_job_works(sql))
    await run_once(store.connect)
    assert await differences(sql) == (set(), set())
    calls = await sql.fetchval("SELECT sum(calls) FROM operations_last_hour")
    assert calls == await sql.fetchval("SELECT count(*) FROM service_spans")


async def test_writers_do_not_wait_for_the_job(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    await send(store, "a", some_spans(20, random.Random(8)))
    other = await asyncpg.connect(database_url)
    async with transaction(other):
        assert await merge_spans(other, 100, timedelta(days=1))
        await asyncio.wait_for(send(store, "a", some_spans(20, random.Random(9))), 5)
    await other.close()
    await run_once(store.connect)
    assert await differences(sql) == (set(), set())


@pytest.mark.every_server
async def test_minutes_become_hours_after_two_days_and_late_ones_join_them(
    store: Store, sql: asyncpg.Connection
) -> None:
    source = random.Random(10)
    await send(store, "a", some_spans(100, source, minutes=90))
    await store.consume(batch(LOGS, logs_request("a", [log_record(severity_number=17) for _ in range(5)])))
    await run_once(store.connect)
    before = await sql.fetch(
        "SELECT tenant_id, service_name, operation_name, kind, sum(calls) FROM span_rollups GROUP BY 1, 2, 3, 4"
    )
    for _ in range(2):
        await sql.execute("UPDATE span_rollups SET minute = minute - interval '3 days' WHERE minutes = 1")
        await sql.execute("UPDATE log_rollups SET minute = minute - interval '3 days' WHERE minutes = 1")
        await aging.merge_hours(sql)
        assert await sql.fetchval("SELECT count(*) FROM span_rollups WHERE minutes = 1") == 0
        await send(store, "a", some_spans(1, source))
        await run_once(store.connect)
    hours = await sql.fetch("SELECT * FROM span_rollups WHERE minutes = 60")
    assert all(row["minute"].minute == 0 for row in hours)
    assert sum(row["calls"] for row in hours) == 101
    assert sum(sum(row["counts"]) for row in hours) == 101
    assert len(before) <= len(hours) <= 4 * len(before)
    assert await sql.fetchval("SELECT sum(error) FROM log_rollups WHERE minutes = 60") == 5


async def test_roll_ups_leave_with_the_retention_of_their_signal(store: Store, sql: asyncpg.Connection) -> None:
    await send(store, "a", some_spans(10, random.Random(11), minutes=1))
    await send(store, "noisy", some_spans(10, random.Random(11), minutes=1))
    await store.consume(batch(LOGS, logs_request("a", [log_record()])))
    await run_once(store.connect)
    for table, column in (("span_rollups", "minute"), ("log_rollups", "minute"), ("service_operations", "last_seen")):
        await sql.execute(f"UPDATE {table} SET {column} = {column} - interval '5 days'")
    settings = RetentionSettings(days=4, signal_days={"traces": 0}, service_days={"noisy": 3})
    assert (
        sum((await aging.drop_old(sql, settings, datetime(2020, 1, 1, tzinfo=UTC))).values()) == 0
    )  # a clock is wrong
    deleted = await aging.drop_old(sql, settings, datetime.now(UTC))
    assert deleted["log_rollups"] == 1
    assert await sql.fetch("SELECT DISTINCT service_name FROM span_rollups") == [("a",)]
    assert await sql.fetch("SELECT DISTINCT service_name FROM service_operations") == [("a",)]
    deleted = await aging.drop_old(sql, RetentionSettings(days=4), datetime.now(UTC))
    assert await sql.fetchval("SELECT count(*) FROM span_rollups") == 0


@pytest.mark.every_server
async def test_percentiles_in_sql_are_those_of_python(sql: asyncpg.Connection) -> None:
    source = random.Random(12)
    for _ in range(100):
        buckets = sorted(source.sample(range(-1, 2000), source.randrange(1, 30)))
        counts = [source.choice([1, 1, 2, 50]) for _ in buckets]
        highest = int(2 ** ((buckets[-1] + source.random()) / 64)) if buckets[-1] > 0 else max(buckets[-1] + 1, 0)
        there = await sql.fetchval("SELECT rollup_percentiles($1, $2, $3)", buckets, counts, highest)
        assert there == pytest.approx(percentiles(buckets, counts, highest))


@pytest.mark.every_server
async def test_views_for_people(store: Store, sql: asyncpg.Connection) -> None:
    await send(
        store, "a", [span(name="GET", start_time_unix_nano=time.time_ns(), end_time_unix_nano=time.time_ns() + 10**9)]
    )
    await run_once(store.connect)
    (row,) = await sql.fetch("SELECT * FROM v_operation_minutes")
    assert (row["service_name"], row["calls"], row["minutes"]) == ("a", 1, 1)
    assert row["p50_ms"] == row["p99_ms"] == pytest.approx(1000, rel=0.01)


async def test_the_setting_reaches_the_job_and_the_metrics_say_what_it_did(
    store: Store, sql: asyncpg.Connection, database_url: str
) -> None:
    telemetry = Telemetry()
    value = telemetry.registry.get_sample_value
    await send(store, "a", [span(name="one"), span(name="two")])
    await store.consume(batch(LOGS, logs_request("a", [log_record()])))
    async with managed(database_url, services=["ares-api"], check=problem_of) as manager:
        job = rollup_job(store, manager, telemetry, pooled=False)
        assert job._interval() == INTERVAL
        await put(sql, "rollups.interval_seconds", 0.5, service="ares-api")
        await arrives(manager, "rollups.interval_seconds", 0.5)
        assert job._interval() == 0.5
        assert value("ares_otel_rollup_lag_seconds") == 0
        await job.run()
    assert problem_of("ares-api", "rollups.interval_seconds", 0) is not None
    assert value("ares_otel_rollup_waiting_rows", {"table": "span_rollup_increments"}) == 2
    assert value("ares_otel_rollup_merged_rows_total", {"table": "span_rollup_increments"}) == 2
    assert value("ares_otel_rollup_merged_rows_total", {"table": "log_rollup_increments"}) == 1
    assert 0 < (value("ares_otel_rollup_lag_seconds") or 0) < 60
    assert value("ares_otel_rollup_edges_waiting_minutes") == 0
    assert value("ares_otel_rollup_failures_total", {"step": "merge"}) is None


async def test_a_step_that_fails_is_counted_and_does_not_stop_the_others(
    store: Store, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry()
    await sql.execute("ALTER TABLE service_edges RENAME TO elsewhere")
    call = span(name="call", start_time_unix_nano=time.time_ns() - 3 * MINUTE)
    await send(store, "a", [call])
    job = Rollups(store.connect, observer=TelemetryRollupObserver(telemetry), edge_lag=timedelta(0))
    for _ in range(3):
        await job.run()
    assert await differences(sql) == (set(), set())
    assert telemetry.registry.get_sample_value("ares_otel_rollup_failures_total", {"step": "edges"}) == 3
    assert len([record for record in caplog.records if "(edges)" in record.message]) == 1


async def test_the_job_keeps_running_through_a_database_that_goes_away(store: Store, sql: asyncpg.Connection) -> None:
    job = Rollups(store.connect, interval=lambda: 0.02)
    await job.start()
    await send(store, "a", some_spans(10, random.Random(13)))
    await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await asyncio.gather(send(store, "a", some_spans(10, random.Random(14))))

    async def merged() -> bool:
        return await differences(sql) == (set(), set())

    await eventually(merged, every=0.05)
    await job.stop()
    await job.stop()
