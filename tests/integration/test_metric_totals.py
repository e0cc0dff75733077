"""Counters and histograms that come as deltas are added up, each stored point once, whatever happens meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    Histogram,
    Metric,
    Sum,
)

from ares_otel.query.prometheus.columns import distribution_rows, number_columns
from ares_otel.query.prometheus.cumulative import cumulative_columns
from ares_otel.query.prometheus.samples import Samples
from ares_otel.query.reader import reading
from ares_otel.query.totals import totals_of
from ares_otel.storage.partitions import Partition
from ares_otel.storage.partitions.packing import pack
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.store import Store
from ares_otel.storage.totals import adding
from ares_otel.storage.totals.pruning import prune_totals
from tests.support.api import Api
from tests.support.exposition_messages import PROTOBUF, families_of, native_buckets
from tests.support.ingested import ago, ask, families, left_out, samples, send
from tests.support.otlp_samples import (
    CUMULATIVE,
    DELTA,
    batch_of,
    exponential_point,
    histogram_point,
    metrics_request,
    number_point,
    pairs,
)
from tests.support.partitions import day, name_of
from tests.support.rollups import run_once

SECOND = 1_000_000_000


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


def deltas(*points: tuple[float, float], name: str = "orders", **labels: str) -> Metric:
    """A counter with points of a value and an age in seconds."""
    made = [number_point(value, attributes=pairs(labels), **ago(age)) for value, age in points]
    return Metric(name=name, sum=Sum(data_points=made, aggregation_temporality=DELTA, is_monotonic=True))


def at(*points: tuple[float, int], name: str = "orders") -> Any:
    """A request with points of a value and a time."""
    made = [number_point(value, attributes=[], time_unix_nano=time_ns) for value, time_ns in points]
    return metrics_request(
        metrics=[Metric(name=name, sum=Sum(data_points=made, aggregation_temporality=DELTA, is_monotonic=True))]
    )


async def add_up(sql: asyncpg.Connection, url: str, **options: Any) -> None:
    assert await run_once(partial(asyncpg.connect, url), **options)
    assert await sql.fetchval("SELECT count(*) FROM metric_delta_arrivals") == 0


async def total(sql: asyncpg.Connection) -> tuple[float, int] | None:
    """Value and number of points of the one series."""
    row = await sql.fetchrow("SELECT value, points FROM metric_totals")
    return None if row is None else (row["value"], row["points"])


async def test_a_counter_of_deltas_is_told_as_what_it_adds_up_to(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    await send(store, metrics_request(metrics=[deltas((5, 30), (2.5, 20))]))
    assert await left_out(api) == {"deltas": 1}, "not added up yet"
    await add_up(sql, emptied_database_url)
    assert samples((await families(api))["orders"]) == {("orders_total", ()): 7.5}
    await send(store, metrics_request(metrics=[deltas((4, 10), code="200"), deltas((1, 5))]))
    await add_up(sql, emptied_database_url)
    assert samples((await families(api))["orders"]) == {
        ("orders_total", ()): 8.5,
        ("orders_total", (("code", "200"),)): 4,
    }
    assert await left_out(api) == {}
    answer = await ask(api, "application/openmetrics-text", name_="orders_total")
    since = await sql.fetchval("SELECT since FROM metric_totals WHERE value = 8.5")
    [created] = [line for line in answer.text.splitlines() if line.startswith("orders_created") and "code" not in line]
    assert float(created.split()[-1]) == pytest.approx(since.timestamp())


async def test_a_request_that_is_repeated_counts_once(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    batch = batch_of(metrics_request(metrics=[deltas((5, 30))]))
    await store.consume(batch)
    await add_up(sql, emptied_database_url)
    await store.consume(batch)
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (5, 1)


@pytest.mark.parametrize("batch", [1, 100])
async def test_of_two_points_of_one_time_the_first_counts_whenever_the_second_comes(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str, batch: int
) -> None:
    now = time.time_ns()
    await send(store, at((5, now), (1, now + 1)), at((5, now), (2, now - SECOND)))
    await add_up(sql, emptied_database_url, batch=batch)
    assert await total(sql) == (8, 3)
    await send(store, at((5, now), (3, now + SECOND)))
    await add_up(sql, emptied_database_url, batch=batch)
    assert await total(sql) == (11, 4)


async def test_of_two_points_of_one_time_the_first_counts_also_when_it_is_packed(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    yesterday = int(day(1).timestamp() + 43_200) * SECOND
    await send(store, at((5, yesterday), (2, yesterday + SECOND)))
    await add_up(sql, emptied_database_url)
    await pack(sql, Partition("metric_samples", day(1), day(0), name_of("metric_samples", 1)), timeout=60)
    assert await sql.fetchval("SELECT count(*) FROM metric_samples") == 0
    await send(store, at((5, yesterday), (1, yesterday + 2 * SECOND)))
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (8, 3)


async def test_a_second_point_that_is_packed_before_it_is_added_up_does_not_count(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    yesterday = int(day(1).timestamp() + 43_200) * SECOND
    partition = Partition("metric_samples", day(1), day(0), name_of("metric_samples", 1))
    await send(store, at((5, yesterday)))
    await add_up(sql, emptied_database_url)
    await pack(sql, partition, timeout=60)
    await send(store, at((9, yesterday), (2, yesterday + SECOND)))
    await pack(sql, partition, timeout=60)
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (7, 2)
    await pack(sql, partition, timeout=60)
    assert await sql.fetchval("SELECT count(*) FROM metric_samples") == 0
    assert await total(sql) == (7, 2)


async def test_late_points_count_and_the_total_never_falls(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    """A day late, an hour late, in any order, beside rounds of the job of any size: against what the rows say."""
    choice = random.Random(20)
    now = time.time_ns()
    seen: dict[int, float] = {}
    before = 0.0
    for _ in range(25):
        points = [
            (
                float(choice.randint(0, 9)),
                now - choice.choice([0, 1, 2, 3, 3600, 86_400]) * SECOND - choice.randint(0, 3),
            )
            for _ in range(choice.randint(1, 4))
        ]
        distinct = {time_ns: value for value, time_ns in reversed(points)}
        await send(store, at(*points))
        seen = distinct | seen
        if choice.random() < 0.6:
            await run_once(partial(asyncpg.connect, emptied_database_url), batch=choice.choice([1, 2, 1000]))
            made = await total(sql)
            assert made is not None
            assert made[0] >= before
            before = made[0]
            assert made == (sum(seen.values()), len(seen))
    days = await sql.fetchrow("SELECT sum(value), sum(points) FROM metric_day_totals")
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (sum(seen.values()), len(seen))
    days = await sql.fetchrow("SELECT sum(value) AS value, sum(points) AS points FROM metric_day_totals")
    assert days is not None
    assert tuple(days) == await total(sql)


async def test_a_job_that_is_broken_off_adds_nothing_twice(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(store, metrics_request(metrics=[deltas((5, 30))]))
    write = adding._write

    async def broken(connection: asyncpg.Connection, changed: Any) -> None:
        await write(connection, changed)
        raise asyncpg.PostgresError("broken off")

    monkeypatch.setattr(adding, "_write", broken)
    await run_once(partial(asyncpg.connect, emptied_database_url))
    assert await total(sql) is None
    monkeypatch.setattr(adding, "_write", write)
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (5, 1)


async def test_a_total_stays_when_its_points_are_dropped_and_leaves_with_its_series(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    await send(store, metrics_request(metrics=[deltas((5, 30))]))
    await add_up(sql, emptied_database_url)
    await sql.execute("DELETE FROM metric_samples")
    await send(store, metrics_request(metrics=[deltas((2, 5))]))
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (7, 2)
    now = datetime.now(UTC)
    assert set((await prune_totals(sql, RetentionSettings(days=30), now)).values()) == {0}
    await sql.execute("UPDATE metric_day_totals SET day = day - 40")
    assert (await prune_totals(sql, RetentionSettings(days=30), now))["metric_day_totals"] > 0
    assert await total(sql) == (7, 2)
    await sql.execute("DELETE FROM metric_series")
    await prune_totals(sql, RetentionSettings(days=0), now + timedelta(days=1))
    assert await total(sql) is None


async def test_what_is_no_number_above_zero_adds_nothing(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    hostile = [float("nan"), float("inf"), -4.0, 1e308, 1e308]
    await send(store, metrics_request(metrics=[deltas(*((value, 9 - n) for n, value in enumerate(hostile)))]))
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (float("inf"), 5)


async def test_deltas_that_may_fall_are_left_out_and_counted(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    falling = Metric(name="queue", sum=Sum(data_points=[number_point(-2)], aggregation_temporality=DELTA))
    rising = Metric(
        name="served", sum=Sum(data_points=[number_point(3)], aggregation_temporality=CUMULATIVE, is_monotonic=True)
    )
    await send(store, metrics_request(metrics=[falling, rising]))
    await add_up(sql, emptied_database_url)
    assert await total(sql) is None
    assert "served" in await families(api)
    assert await left_out(api) == {"deltas": 1}


async def test_a_point_without_a_value_ends_the_series_and_does_not_count(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    ended = deltas((5, 30))
    ended.sum.data_points.append(number_point(None, attributes=[], flags=1))
    await send(store, metrics_request(metrics=[ended]))
    await add_up(sql, emptied_database_url)
    assert await total(sql) == (5, 1)
    assert "orders" not in await families(api)


async def test_deltas_that_are_inserted_by_sql_count(
    api: Api, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    for value in (3, 4):
        await sql.execute(
            "INSERT INTO service_metrics (service_name, metric_name, metric_type, temporality, metric_value) "
            "VALUES ('cron', 'runs', 'counter', 'delta', $1)",
            float(value),
        )
    await add_up(sql, emptied_database_url)
    assert samples((await families(api))["runs"]) == {("runs_total", ()): 7}


async def test_histograms_of_deltas_are_added_up_bucket_by_bucket(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    async def sent(bounds: Sequence[float], counts: Sequence[int], age: float) -> None:
        point = histogram_point(
            explicit_bounds=bounds, bucket_counts=counts, count=sum(counts), sum=1.5, attributes=[], **ago(age)
        )
        await send(
            store,
            metrics_request(
                metrics=[Metric(name="wait", histogram=Histogram(data_points=[point], aggregation_temporality=DELTA))]
            ),
        )
        await add_up(sql, emptied_database_url)

    await sent([0.1, 1], [1, 2, 3], 30)
    await sent([0.1, 1], [10, 0, 1], 20)
    expected = {"0.1": 11, "1": 13, "+Inf": 17}
    found = samples((await families(api))["wait"])
    assert {le: found["wait_bucket", (("le", le),)] for le in expected} == expected
    assert (found["wait_sum", ()], found["wait_count", ()]) == (3, 17)
    await sent([1, 5], [1, 1, 1], 10)  # other bounds: what all have stays exact
    found = samples((await families(api))["wait"])
    assert found[("wait_bucket", (("le", "1"),))] == 14
    assert found[("wait_count", ())] == 20
    assert ("wait_bucket", (("le", "0.1"),)) not in found


async def test_exponential_histograms_of_deltas_are_added_up_as_native_ones(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    points = [
        exponential_point(attributes=[], **ago(30)),
        exponential_point(attributes=[], scale=2, **ago(20)),
    ]
    metric = Metric(
        name="wait", exponential_histogram=ExponentialHistogram(data_points=points, aggregation_temporality=DELTA)
    )
    await send(store, metrics_request(metrics=[metric]))
    await add_up(sql, emptied_database_url)
    [made] = families_of((await ask(api, PROTOBUF)).content)["wait"].metric
    assert (made.histogram.schema, made.histogram.sample_count, made.histogram.sample_sum) == (2, 14, 81)
    # At scale 3 from index -2: 1, 0, 3, 2, so at scale 2 from -1: 1, 5; beside 1, 0, 3, 2 from -2; one index more here.
    assert native_buckets(made.histogram) == {-1: 1, 0: 1, 1: 8, 2: 2}
    assert made.histogram.zero_count == 2


async def test_the_counter_at_an_old_time_is_what_was_counted_until_then(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    """Over three days, some of it not added up yet."""
    noon = day(0) + timedelta(hours=12)
    values = {noon - timedelta(days=back, minutes=minute): 1.0 + minute for back in (0, 1, 2) for minute in (0, 1, 2)}
    times = [(value, round(when.timestamp()) * SECOND) for when, value in values.items()]
    await send(store, at(*times[:6]))
    await add_up(sql, emptied_database_url)
    await send(store, at(*times[6:]))
    [series] = await sql.fetchval("SELECT array_agg(series_id) FROM metric_series")
    expected: dict[int, float] = {}
    running = 0.0
    for when in sorted(values):
        running += values[when]
        expected[round(when.timestamp() * 1000)] = running

    async def counter(start: datetime, end: datetime) -> dict[int, float]:
        async with reading(api.pool) as reader:
            found = await cumulative_columns(reader, [series], ms(start), ms(end), max_samples=1000)
        return dict(zip(found.timestamps.tolist(), found.values.tolist(), strict=True))

    def ms(when: datetime) -> int:
        return round(when.timestamp() * 1000)

    assert await counter(noon - timedelta(days=3), noon) == expected
    yesterday = noon - timedelta(days=1)
    part = {time_ms: value for time_ms, value in expected.items() if ms(yesterday) - 60_000 <= time_ms <= ms(yesterday)}
    assert len(part) == 2
    assert await counter(yesterday - timedelta(minutes=1), yesterday) == part


async def test_a_delta_that_comes_while_a_counter_is_read_is_not_told_at_an_older_time(
    api: Api, store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    await send(store, at((5, now - SECOND)))
    series = await sql.fetchval("SELECT series_id FROM metric_series")

    async def slow(*arguments: Any, **options: Any) -> Any:
        found = await number_columns(*arguments, **options)
        await send(store, at((100, now)))
        return found

    monkeypatch.setattr("ares_otel.query.prometheus.cumulative.number_columns", slow)
    async with reading(api.pool) as reader:
        end_ms = now // 1_000_000
        found = await cumulative_columns(reader, [series], end_ms - 60_000, end_ms, max_samples=1000)
    assert found.values.tolist() == [5]


async def test_a_delta_that_comes_while_a_histogram_is_read_is_not_told_at_an_older_time(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(count: int, age: float) -> Any:
        point = histogram_point(
            explicit_bounds=[1.0], bucket_counts=[count, 0], count=count, sum=1.5, attributes=[], **ago(age)
        )
        made = Histogram(data_points=[point], aggregation_temporality=DELTA)
        return metrics_request(metrics=[Metric(name="wait", histogram=made)])

    await send(store, wait(5, 30))
    await add_up(sql, emptied_database_url)
    series = await sql.fetchval("SELECT series_id FROM metric_series")

    async def slow(*arguments: Any, **options: Any) -> Any:
        found = await distribution_rows(*arguments, **options)
        await send(store, wait(100, 1))
        await add_up(sql, emptied_database_url)
        return found

    monkeypatch.setattr("ares_otel.query.prometheus.samples.distribution_rows", slow)
    async with reading(api.pool) as reader:
        end_ms = time.time_ns() // 1_000_000
        wanted = Samples(reader, end_ms - 60_000, end_ms, newest_only=False)
        found = [row["count"] async for rows in wanted._delta_rows([series]) for row in rows]
    assert found == [5]


async def test_a_delta_that_comes_while_a_page_is_made_is_not_told_at_an_older_time(
    api: Api, store: Store, sql: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(store, metrics_request(metrics=[deltas((5, 30))]))
    await add_up(sql, emptied_database_url)

    async def late(*arguments: Any, **options: Any) -> Any:
        await send(store, metrics_request(metrics=[deltas((100, 1))]))
        await add_up(sql, emptied_database_url)
        return await totals_of(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr("ares_otel.query.live_series.totals_of", late)
        assert samples((await families(api))["orders"]) == {("orders_total", ()): 5}
    assert samples((await families(api))["orders"]) == {("orders_total", ()): 105}
