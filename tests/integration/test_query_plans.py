"""Reads use the indexes that were made for them, and stay within their bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.query import reader, traces
from ares_otel.query.instant import Instant
from ares_otel.query.logs import LogFilter, find_logs
from ares_otel.query.metrics import MetricFilter, find_metrics
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow, reading
from ares_otel.query.services import service_performance, system_health
from ares_otel.query.statements import load_statements, parse_statements
from ares_otel.query.traces import find_trace
from tests.support.partitions import day
from tests.support.stored_rows import TRACE, insert_log, insert_metric, insert_span, now, span_id

_ALL: dict[str, Any] = {
    "logs.sql": {
        "service": "orders",
        "level": "INFO",
        "trace_id": TRACE,
        "pattern": "%x%",
        "from_time": now(),
        "from_ns": 0,
        "to_time": now(),
        "to_ns": 0,
        "lower": now(),
        "upper": now(),
        "after_time": now(),
        "after_ns": 0,
        "after_id": 1,
        "limit": 101,
        "max_bytes": 1000,
    },
    "metrics.sql": {
        "service": "orders",
        "metric": "queue.length",
        "lower": now(),
        "upper": now(),
        "to_time": now(),
        "after_time": now(),
        "after_id": 1,
        "limit": 101,
        "max_bytes": 1000,
    },
}


async def plan(connection: asyncpg.Connection, file: str, name: str, **given: Any) -> str:
    """The plan of a statement in a database that would rather not read whole tables."""
    optional = {"limit": 101, "max_bytes": 1000}
    values = {key: given.get(key, optional.get(key)) for key in _ALL[file]}
    text, arguments = load_statements(file)[name].bind(values)
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        rows = await connection.fetch(f"EXPLAIN {text}", *arguments)
    return "\n".join(row[0] for row in rows)


@pytest.fixture
async def pool(database_url: str) -> Any:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as made:
        yield made


async def test_logs_come_from_the_index_in_order_without_a_sort(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        for given in ({}, {"service": "orders"}, {"lower": now() - timedelta(days=2), "service": "orders"}):
            text = await plan(connection, "logs.sql", "logs", **given)
            assert text.count("Index Scan") > 2
            assert "Seq Scan" not in text
            assert "Sort" not in text


async def test_a_time_range_leaves_partitions_out(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        everything = await plan(connection, "logs.sql", "logs")
        assert everything.count("Index Scan") > 2
        noon = day(0) + timedelta(hours=12)
        hour = {"lower": noon, "upper": noon + timedelta(hours=1)}
        for given in (
            {**hour, "from_time": noon, "from_ns": 0, "to_time": noon, "to_ns": 0},
            {**hour, "after_time": noon, "after_ns": 1, "after_id": 1},
        ):
            assert (await plan(connection, "logs.sql", "logs", **given)).count("Index Scan") == 1


async def test_a_metric_is_found_by_the_index_on_the_start_of_its_name(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        text = await plan(connection, "metrics.sql", "metrics", metric="queue.length", lower=now())
        assert "metric_series_name_idx" in text
        assert "series_id_timestamp_idx" in text


async def test_a_name_that_begins_like_a_long_one_is_not_taken_for_it(pool: asyncpg.Pool) -> None:
    long = "m" * 300
    async with pool.acquire() as connection:
        await insert_metric(connection, metric_name=long + "1", metric_value=1)
        await insert_metric(connection, metric_name=long + "2", metric_value=2)
    wanted = MetricFilter(Instant(now() - timedelta(hours=1)), metric=long + "2")
    assert [row.metric_value for row in (await find_metrics(pool, wanted, limit=10)).rows] == [2]


async def test_rows_beyond_the_byte_bound_wait_for_the_next_page(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.query.logs.MAX_BYTES", 1000)
    async with pool.acquire() as connection:
        for number in range(4):
            await insert_log(connection, message=str(number) * 600)
    seen, after, pages = [], None, 0
    while pages == 0 or after:
        page = await find_logs(pool, LogFilter(), limit=100, after=after)
        seen += [(row.message or "")[0] for row in page.rows]
        after, pages = page.next, pages + 1
    assert seen == ["3", "2", "1", "0"]
    assert pages == 2


async def test_a_row_larger_than_the_byte_bound_still_comes(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.query.logs.MAX_BYTES", 10)
    async with pool.acquire() as connection:
        await insert_log(connection, message="x" * 600)
    page = await find_logs(pool, LogFilter(), limit=100)
    assert len(page.rows) == 1
    assert page.next is None


async def test_a_huge_trace_is_cut_at_its_bound_and_says_so(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MAX_SPANS", 10)
    start = now()
    async with pool.acquire() as connection:
        for number in range(1, 12):
            await insert_span(connection, number, start_time=start + timedelta(microseconds=number))
    trace = await find_trace(pool, TRACE)
    assert trace is not None
    assert trace.truncated
    assert [placed.row.span_id for placed in trace.spans] == [span_id(number) for number in range(1, 11)]
    async with pool.acquire() as connection:
        await connection.execute("DELETE FROM service_spans WHERE span_id = $1", span_id(11))
    whole = await find_trace(pool, TRACE)
    assert whole is not None
    assert not whole.truncated


async def test_a_trace_of_very_large_spans_is_cut_and_says_so(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MAX_BYTES", 1000)
    async with pool.acquire() as connection:
        for number in range(1, 5):
            await insert_span(connection, number, attributes={"text": "x" * 600})
    trace = await find_trace(pool, TRACE)
    assert trace is not None
    assert trace.truncated
    assert len(trace.spans) == 2


async def test_a_statement_that_the_server_stops_is_too_slow(database_url: str) -> None:
    sleep = parse_statements("-- name: sleep\nSELECT pg_sleep(:seconds)")["sleep"]
    settings = {"statement_timeout": "1500"}  # enough for what is asked afterwards, also on a busy machine
    async with asyncpg.create_pool(database_url, min_size=0, max_size=1, server_settings=settings) as pool:
        async with reading(pool) as door:
            with pytest.raises(QueryTooSlow, match="narrow the time range"):
                await door.fetch(sleep, seconds=60)
        assert (await find_logs(pool, LogFilter(), limit=1)).rows == []


async def test_a_busy_pool_and_an_absent_server_are_an_unavailable_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = asyncpg.create_pool(database_url, min_size=0, max_size=1)
    async with pool:
        async with pool.acquire():
            with monkeypatch.context() as impatient:
                impatient.setattr(reader, "ACQUIRE_SECONDS", 0.05)
                with pytest.raises(DatabaseUnavailable):
                    await system_health(pool)
        assert not (await system_health(pool)).truncated
    with pytest.raises(DatabaseUnavailable):  # closed
        await service_performance(pool)


async def test_a_connection_that_the_server_ends_makes_one_error_and_the_next_read_works(
    database_url: str, pool: asyncpg.Pool
) -> None:
    one = parse_statements("-- name: end\nSELECT pg_terminate_backend(pg_backend_pid())")["end"]
    with pytest.raises(DatabaseUnavailable):
        async with reading(pool) as door:
            await door.fetch(one)
    assert (await find_logs(pool, LogFilter(), limit=1)).rows == []


async def test_a_connection_that_met_very_many_partitions_is_not_kept(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WORN_STATEMENTS", 3)
    one = parse_statements("-- name: pid\nSELECT pg_backend_pid() AS pid")["pid"]
    pids = []
    for statements in (2, 3, 1):
        async with reading(pool) as door:
            for _ in range(statements):
                [row] = await door.fetch(one)
        pids.append(row["pid"])
    assert pids[0] == pids[1] != pids[2]
