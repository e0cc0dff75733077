"""Samples of sealed partitions are packed: the same samples, in a tenth of the room."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric

from ares_otel.model.signal import METRICS
from ares_otel.query.instant import Instant
from ares_otel.query.ledger import read_ledger
from ares_otel.query.metrics import MetricFilter, find_metrics
from ares_otel.query.prometheus.columns import number_columns
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.partitions import packing
from ares_otel.storage.partitions import seal as sealing
from ares_otel.storage.partitions.archive import archive, count_rows
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rows.restore import restore_request
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, metrics_request, number_point
from tests.support.packed import ITS_PARTITION, PARTITION, YESTERDAY, YESTERDAY_MS, put
from tests.support.partitions import Keeper

COLUMNS = (
    "tenant_id, id, series_id, timestamp, timestamp_ns, value, value_int, start_time, start_ns, flags, exemplars, "
    "point_raw, received_at, original_time_unix_nano"
)


@pytest.fixture
async def empty(emptied_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_database_url)
    yield connection
    await connection.execute("DELETE FROM metric_packs; DELETE FROM partition_jobs")
    await connection.close()


async def rows(sql: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """All samples, bit for bit, but for the fraction of the second in which they were received."""
    found = await sql.fetch(f"SELECT {COLUMNS} FROM v_metric_samples ORDER BY series_id, timestamp, timestamp_ns, id")
    return [tuple(_exact(name, value) for name, value in row.items()) for row in found]


def _exact(name: str, value: Any) -> Any:
    if name == "received_at":
        return value.replace(microsecond=0)
    return struct.pack(">d", value) if isinstance(value, float) else value


async def left(sql: asyncpg.Connection) -> int:
    count: int = await sql.fetchval("SELECT count(*) FROM metric_samples")
    return count


NUMBERS = [
    pytest.param([1.0, 1.0, 1.0], id="constant"),
    pytest.param([0.0, 15.0, 31.0, 2.0], id="whole"),
    pytest.param([0.25, 0.1, 12.345, -7.0], id="few decimals"),
    pytest.param([0.1 + 0.2, 1 / 3, 2.0], id="doubles"),
    pytest.param([0.0, -0.0, 1.0], id="negative zero"),
    pytest.param([float("nan"), float("inf"), float("-inf"), 1e308, 5e-324], id="extremes"),
    pytest.param([1e15, -1e15, 9.99e14, 0.5], id="large"),
    pytest.param([999999999999999.0, 0.125], id="large beside decimals"),
    pytest.param([1e11 + 0.5, 1e-3, 0.0005], id="at the limits"),
]


@pytest.mark.parametrize("values", NUMBERS)
async def test_values_come_back_bit_for_bit(
    empty: asyncpg.Connection, emptied_database_url: str, values: list[float]
) -> None:
    series = uuid4()
    for n, value in enumerate(values):
        await put(empty, series, YESTERDAY + timedelta(seconds=15 * n), value)
    before = await rows(empty)
    await Keeper(emptied_database_url).seal(grace_hours=0)
    assert await left(empty) == 0
    assert await rows(empty) == before
    found = await number_columns(Reader(empty), [series], YESTERDAY_MS, YESTERDAY_MS + 86_400_000, max_samples=10)
    assert found.values.astype(">f8").tobytes() == b"".join(struct.pack(">d", value) for value in values)


@pytest.mark.every_server
async def test_every_column_comes_back_and_what_cannot_be_packed_stays_a_row(
    database_url: str, sql: asyncpg.Connection
) -> None:
    series, other = uuid4(), uuid4()
    exemplars = json.dumps(
        [{"time_unix_nano": 1, "value": 2, "trace_id": "", "span_id": "", "filtered_attributes": {}}]
    )
    for n in range(5):
        at = YESTERDAY + timedelta(microseconds=15_000_017 * n + n * n)
        whole = (2**53 + 1) * n
        common = {"timestamp_ns": (n * 371) % 1000, "start_time": at - timedelta(minutes=n), "start_ns": n}
        await put(sql, series, at, float(whole), value_int=whole, tenant_id=n % 2, **common)
        await put(sql, other, at, 0.5, exemplars=exemplars if n == 3 else None, received_at=at + timedelta(hours=n))
    stays = YESTERDAY + timedelta(hours=2)
    await put(sql, series, stays, None, flags=1)
    await put(sql, series, stays + timedelta(seconds=1), 1.0, point_raw=b"\x00")
    await put(sql, series, stays + timedelta(seconds=2), 1.0, original_time_unix_nano=5)
    await put(sql, series, stays + timedelta(seconds=3), 2.0**63, value_int=2**63 - 1)
    await put(sql, series, stays + timedelta(seconds=4), 1.0, exemplars=json.dumps([uuid4().hex for _ in range(400)]))
    await put(
        sql, series, stays + timedelta(seconds=5), 1.0, start_time=datetime(1970, 1, 1, tzinfo=stays.tzinfo), start_ns=1
    )
    before = await rows(sql)
    await Keeper(database_url).seal(grace_hours=0)
    assert await rows(sql) == before
    assert await left(sql) == 6
    assert await sql.fetchval("SELECT count(*) FROM metric_packs") == 3


async def test_late_samples_stay_rows_beside_the_packs_until_the_next_seal(
    empty: asyncpg.Connection, emptied_database_url: str
) -> None:
    series = uuid4()
    keeper = Keeper(emptied_database_url)
    for n in (0, 2, 4):
        await put(empty, series, YESTERDAY + timedelta(seconds=n), float(n))
    await keeper.seal(grace_hours=0)
    for n in (1, 3, 2):  # the last one is there already
        await put(empty, series, YESTERDAY + timedelta(seconds=n), float(10 + n))
    expected = [0.0, 11.0, 2.0, 13.0, 4.0]

    async def read() -> list[float]:
        found = await number_columns(Reader(empty), [series], YESTERDAY_MS, YESTERDAY_MS + 9999, max_samples=10)
        return list(found.values.tolist())

    assert (await read(), await left(empty)) == (expected, 3)
    await empty.execute("UPDATE partition_jobs SET sealed_with = NULL")
    await keeper.seal(grace_hours=0)
    assert (await read(), await left(empty)) == (expected, 0)
    assert [packs for packs in keeper.counted.packs if packs != (0, 0)] == [(3, 0), (2, 1)]
    assert await empty.fetchval("SELECT sum(cardinality(duplicates)) FROM metric_packs") == 1


async def test_a_partition_with_many_late_samples_is_sealed_again_by_itself(
    empty: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = uuid4()
    keeper = Keeper(emptied_database_url)
    await put(empty, series, YESTERDAY, 1.0)
    await keeper.seal(grace_hours=0)
    await put(empty, series, YESTERDAY + timedelta(seconds=1), 2.0)
    await keeper.seal(grace_hours=0)
    assert await left(empty) == 1
    monkeypatch.setattr(sealing, "LATE_BYTES", 0)
    await keeper.seal(grace_hours=0)
    assert await left(empty) == 1, "not within a day"
    monkeypatch.setattr(sealing, "LATE_AFTER", timedelta(0))
    await keeper.seal(grace_hours=0)
    assert await left(empty) == 0


async def test_a_table_with_a_column_of_somebody_keeps_its_rows(database_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("ALTER TABLE metric_samples ADD COLUMN note text")
    await put(sql, uuid4(), YESTERDAY, 1.0, note="mine")
    await Keeper(database_url).seal(grace_hours=0)
    assert await left(sql) == 1


async def test_a_time_range_touches_only_packs_of_that_time(
    empty: asyncpg.Connection, emptied_database_url: str
) -> None:
    await empty.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_value, timestamp) "
        "SELECT 'shop', metric, n, $1::timestamptz + n * interval '10 s' "
        "FROM generate_series(0, 4000) n, unnest(ARRAY['stock', 'orders']) metric",
        YESTERDAY,
    )
    await Keeper(emptied_database_url).seal(grace_hours=0)
    end = YESTERDAY + timedelta(seconds=100)
    wanted = "service_name = 'shop' AND metric_name = 'stock'"
    ranged = f"SELECT metric_value FROM service_metrics_between($1, $2) WHERE {wanted}"
    assert [row[0] for row in await empty.fetch(ranged, YESTERDAY, end)] == [float(n) for n in range(10)]
    by_view = f'SELECT metric_value FROM service_metrics WHERE {wanted} AND "timestamp" >= $1 AND "timestamp" < $2'
    assert sorted(row[0] for row in await empty.fetch(by_view, YESTERDAY, end)) == [float(n) for n in range(10)]

    async def unpacked(statement: str, *values: object) -> int:
        plan = await empty.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
        return _unpacked_by(json.loads(plan)[0]["Plan"])

    assert await empty.fetchval("SELECT count(*) FROM metric_packs") == 18
    await empty.execute("ANALYZE metric_series; ANALYZE metric_packs")
    assert await unpacked(by_view, YESTERDAY, end) == 9, "of other series none"
    assert await unpacked(ranged, YESTERDAY, end) == 1
    text, values = load_statements("metrics.sql")["metrics"].bind(
        {
            **dict.fromkeys(("to_time", "after_time", "after_id")),
            "lower": YESTERDAY,
            "upper": end,
            "service": "shop",
            "metric": "stock",
            "limit": 5,
            "max_bytes": 9999,
        }
    )
    assert await unpacked(text, *values) == 1


def _unpacked_by(plan: dict[str, Any]) -> int:
    """How many packs a plan unpacked."""
    below = sum(map(_unpacked_by, plan.get("Plans", ())))
    return below + (int(plan["Actual Loops"]) if plan["Node Type"] == "Function Scan" else 0)


async def test_sealing_that_is_broken_off_anywhere_leaves_every_sample_once(
    empty: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "BATCH_ROWS", 7)
    monkeypatch.setattr(packing, "PACK_SAMPLES", 5)
    series = [uuid4() for _ in range(6)]
    for n in range(120):
        await put(empty, series[n % 6], YESTERDAY + timedelta(seconds=n), n / 7)
    before = await rows(empty)
    for batches in (1, 3, 100):
        asked = iter(range(batches))

        def busy(asked: Iterator[int] = asked) -> bool:
            return next(asked, None) is None

        await Keeper(emptied_database_url, busy=busy).seal(grace_hours=0)
        assert await rows(empty) == before
    assert await left(empty) == 0
    await empty.execute("DELETE FROM partition_jobs")


async def test_a_process_that_is_killed_while_it_packs_has_packed_whole_batches(
    empty: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = uuid4()
    await empty.execute(
        'INSERT INTO metric_samples (series_id, "timestamp", value) '
        "SELECT $1, $2::timestamptz + n * interval '1 s', n FROM generate_series(1, 3000) n",
        series,
        YESTERDAY,
    )
    monkeypatch.setattr(packing, "BATCH_ROWS", 100)
    for _ in range(4):
        packer = await asyncpg.connect(emptied_database_url)
        pid = packer.get_server_pid()
        work = asyncio.create_task(Keeper(emptied_database_url, connect=_always(packer)).seal(grace_hours=0))
        packed = await empty.fetchval("SELECT count(*) FROM metric_packs")
        while await empty.fetchval("SELECT count(*) FROM metric_packs") == packed and not work.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        await empty.execute("SELECT pg_terminate_backend($1, 10000)", pid)
        await asyncio.gather(work, return_exceptions=True)
        found = await empty.fetchrow("SELECT count(*), count(DISTINCT value), sum(value) FROM v_metric_samples")
        assert tuple(found) == (3000, 3000, sum(range(3001)))


def _always(connection: asyncpg.Connection) -> Any:
    async def connect() -> asyncpg.Connection:
        return connection

    return connect


async def test_packing_can_be_switched_off(empty: asyncpg.Connection, emptied_database_url: str) -> None:
    await put(empty, uuid4(), YESTERDAY, 1.0)
    await Keeper(emptied_database_url).seal(grace_hours=0, pack=False)
    assert await left(empty) == 1


async def test_an_archive_has_packed_samples_as_it_has_rows(
    empty: asyncpg.Connection, emptied_database_url: str, tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    await empty.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_value, timestamp) "
        "SELECT 'shop', 'stock', n, $1::timestamptz + n * interval '1 s' FROM generate_series(1, 9) n",
        YESTERDAY,
    )
    await Keeper(emptied_database_url).seal(grace_hours=0)
    packs = packing.packs_of(ITS_PARTITION)
    done = await archive(empty, packs, tmp_path)
    assert done.rows == await count_rows(empty, packs) == 9
    found = pq.read_table(done.path).to_pylist()
    assert [(row["service_name"], row["value"]) for row in found] == [("shop", float(n)) for n in range(1, 10)]
    assert set(COLUMNS.split(", ")) < set(found[0])
    await empty.execute(f"ALTER TABLE metric_packs DETACH PARTITION {packs.name}")
    assert (await archive(empty, packs, tmp_path)).rows == 9
    await empty.execute(f"DROP TABLE {packs.name}")


async def test_packed_samples_leave_with_their_partition(database_url: str, sql: asyncpg.Connection) -> None:
    await put(sql, uuid4(), YESTERDAY, 1.0)
    keeper = Keeper(database_url, RetentionSettings(days=0.001))
    await keeper.seal(grace_hours=0)
    packs = await sql.fetchval("SELECT partition_name FROM partition_jobs WHERE table_name = 'metric_packs'")
    assert packs == f"{PARTITION}_packed"
    await keeper.run()
    await keeper.run()
    assert await sql.fetchval("SELECT to_regclass($1)", packs) is None
    assert {table for table, *_ in keeper.counted.drops} >= {"metric_packs", "metric_samples"}
    # What comes late now is not packed into a partition that has left.
    assert not await packing._make(sql, packing.packs_of(ITS_PARTITION))


async def test_retention_of_a_service_takes_packs_that_are_old(database_url: str, sql: asyncpg.Connection) -> None:
    insert = (
        "INSERT INTO service_metrics (service_name, metric_name, metric_value, timestamp) VALUES ($1, 'stock', 1, $2)"
    )
    for service in ("noisy", "shop"):
        await sql.execute(insert, service, YESTERDAY)
    keeper = Keeper(database_url, RetentionSettings(service_days={"noisy": 0.001}))
    await keeper.seal(grace_hours=0)
    await keeper.run()
    assert [row["service_name"] for row in await sql.fetch("SELECT service_name FROM service_metrics")] == ["shop"]


async def test_packed_samples_are_in_the_view_the_api_the_account_and_the_round_trip(
    database_url: str, sql: asyncpg.Connection
) -> None:
    store = Store(database_url)
    await store.start()
    start = int(YESTERDAY.timestamp()) * 10**9
    stamps = [{"time_unix_nano": start + n * 1_000_000_007, "start_time_unix_nano": start - 5} for n in range(5)]
    doubles = [number_point(n / 4, **stamp) for n, stamp in enumerate(stamps)]
    integers = [number_point(2**60 + n, **stamp) for n, stamp in enumerate(stamps)]
    request = metrics_request(metrics=[_gauge("doubles", doubles), _gauge("integers", integers)])
    # Of packed samples the second is known in which they were received: the account begins with one.
    received = int(time.time()) * 10**9
    await store.consume(batch_of(request, received_ns=received))
    await store.stop()
    before = [dict(row) for row in await sql.fetch("SELECT * FROM service_metrics ORDER BY id")]
    await Keeper(database_url).seal(grace_hours=0)
    assert await left(sql) == 0
    assert [dict(row) for row in await sql.fetch("SELECT * FROM service_metrics ORDER BY id")] == before
    restored = await restore_request(sql, METRICS)
    assert sorted_points(restored) == sorted_points(request)
    assert {entry.signal: (entry.stored, entry.difference) for entry in await read_ledger(sql)}["metrics"] == (10, 0)
    # A second one of the same time is counted, and not missed by the account.
    store = Store(database_url)
    await store.start()
    await store.consume(batch_of(metrics_request(metrics=[_gauge("doubles", doubles[:1])]), received_ns=received))
    await store.stop()
    await sql.execute("UPDATE partition_jobs SET sealed_with = NULL")
    await Keeper(database_url).seal(grace_hours=0)
    assert {entry.signal: (entry.stored, entry.difference) for entry in await read_ledger(sql)}["metrics"] == (11, 0)
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        wanted = MetricFilter(Instant(YESTERDAY - timedelta(hours=1)), service="shop", metric="doubles")
        page = await find_metrics(pool, wanted, limit=3)
        rest = await find_metrics(pool, wanted, limit=3, after=page.next)
    assert [row.metric_value for row in (*page.rows, *rest.rows)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def _gauge(name: str, points: list[Any]) -> Metric:
    return Metric(name=name, gauge=Gauge(data_points=points))


def sorted_points(request: Any) -> list[tuple[str, bytes]]:
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    points = ((metric.name, point) for metric in metrics for point in metric.gauge.data_points)
    return sorted((name, point.SerializeToString(deterministic=True)) for name, point in points)
