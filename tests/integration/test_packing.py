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
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric

from ares_otel.model.prometheus.native_histogram import STALE_NAN_BITS
from ares_otel.model.signal import METRICS
from ares_otel.query.instant import Instant
from ares_otel.query.ledger import read_ledger
from ares_otel.query.metrics import MetricFilter, find_metrics
from ares_otel.query.prometheus.columns import NumberColumns, newest_columns, number_columns
from ares_otel.query.reader import Reader
from ares_otel.storage.partitions import Partition, packing
from ares_otel.storage.partitions.archive import archive, count_rows
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rows.restore import restore_request
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, metrics_request, number_point
from tests.support.partitions import Keeper, day, name_of

YESTERDAY = day(1) + timedelta(hours=12)
YESTERDAY_MS = int(YESTERDAY.timestamp() * 1000)
PARTITION = name_of("metric_samples", 1)
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


async def put(sql: asyncpg.Connection, series: UUID, at: datetime, value: float | None, **more: Any) -> None:
    """One sample."""
    row = {"series_id": series, "timestamp": at, "value": value, "received_at": at + timedelta(seconds=1), **more}
    places = ", ".join(f"${n + 1}" for n in range(len(row)))
    await sql.execute(f"INSERT INTO metric_samples ({', '.join(row)}) VALUES ({places})", *row.values())


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
    await empty.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_value, timestamp) "
        "SELECT 'shop', 'stock', n, $1::timestamptz + n * interval '1 s' FROM generate_series(1, 9) n",
        YESTERDAY,
    )
    await Keeper(emptied_database_url).seal(grace_hours=0)
    packs = packing.packs_of(Partition("metric_samples", day(1), day(0), PARTITION))
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
    assert not await packing._make(sql, packing.packs_of(Partition("metric_samples", day(1), day(0), PARTITION)))


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


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 1),  # series
        st.sampled_from([-2_000_000, -1, 0, 1, 999, 1000, 1001, 3600_000, 70_000_000]),  # microseconds around noon
        st.integers(0, 2),  # nanoseconds
        st.one_of(
            st.none(), st.integers(-5, 5).map(float), st.floats(), st.integers(-(2**63), 2**63 - 1), st.just(0.125)
        ),
        st.booleans(),  # whether the partition is sealed after it
    ),
    max_size=24,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=SAMPLES)
def test_whatever_comes_in_whatever_order_is_read_as_a_model_has_it(
    module_database_url: str, samples: list[tuple[int, int, int, float | int | None, bool]]
) -> None:
    asyncio.run(_compare(module_database_url, samples))


async def _compare(url: str, samples: list[tuple[int, int, int, float | int | None, bool]]) -> None:
    sql = await asyncpg.connect(url)
    partition = Partition("metric_samples", day(1), day(0), PARTITION)
    await sql.execute("DELETE FROM metric_samples; DELETE FROM metric_packs")
    all_series = [UUID(int=n + 1) for n in range(2)]
    model: dict[tuple[int, int, int], float | int | None] = {}
    for series, us, ns, value, sealed in samples:
        at = YESTERDAY + timedelta(microseconds=us)
        whole = value if isinstance(value, int) else None
        number = None if value is None else float(value)
        await put(
            sql,
            all_series[series],
            at,
            number,
            value_int=whole,
            timestamp_ns=ns,
            flags=None if value is not None else 1,
        )
        model.setdefault((series, us, ns), value)
        if sealed:
            await packing.pack(sql, partition, timeout=60)
    expected: list[dict[int, float | None]] = [{} for _ in all_series]
    for series, us, _ in sorted(model):
        value = model[series, us, _]
        expected[series].setdefault(us // 1000, None if value is None else float(value))
    found = await number_columns(Reader(sql), all_series, YESTERDAY_MS - 3000, YESTERDAY_MS + 90_000, max_samples=99)
    newest = await newest_columns(Reader(sql), all_series, YESTERDAY_MS - 3000, YESTERDAY_MS + 90_000)
    by_sql = await sql.fetch(_FIRST_BY_SQL)
    await sql.close()
    for series, wanted in enumerate(expected):
        items = [(ms + YESTERDAY_MS, _bits(value)) for ms, value in sorted(wanted.items())]
        assert _of(found, series) == items
        assert _of(newest, series) == items[-1:]
        model_rows = [(us, ns, _bits(value)) for (s, us, ns), value in sorted(model.items()) if s == series]
        sql_rows = [r for r in by_sql if r["series_id"] == all_series[series]]
        assert [(r["us"], r["timestamp_ns"], _bits(r["value"])) for r in sql_rows] == model_rows


_FIRST_BY_SQL = f"""
SELECT DISTINCT ON (series_id, "timestamp", timestamp_ns)
       series_id, round(date_part('epoch', "timestamp" - '{YESTERDAY.isoformat()}') * 1e6)::bigint AS us,
       timestamp_ns, value
FROM v_metric_samples ORDER BY series_id, "timestamp", timestamp_ns, id
"""


def _bits(value: float | None) -> str:
    return STALE_NAN_BITS.to_bytes(8, "big").hex() if value is None else struct.pack(">d", value).hex()


def _of(found: NumberColumns, number: int) -> list[tuple[int, str]]:
    part = slice(found.offsets[number], found.offsets[number + 1])
    values = found.values[part].view(np.uint64).tolist()
    return list(zip(found.timestamps[part].tolist(), [f"{bits:016x}" for bits in values], strict=True))
