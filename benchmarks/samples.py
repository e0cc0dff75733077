"""What samples take on disk as rows and packed, and how fast they are read: `python -m benchmarks.samples [SERIES]`.

Six kinds of series, as Prometheus and as the SDKs of OpenTelemetry send them, every 15 seconds for six hours of
yesterday, in the order in which they would arrive. Uses a server of its own, without durability; takes a minute or two
with the default of 600 series.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from ares_otel.query.prometheus.columns import newest_columns, number_columns
from ares_otel.query.reader import Reader
from tests.support.partitions import Keeper, day, name_of
from tests.support.postgres import copied_database, shared_server

SERIES, SAMPLES, STEP = 600, 1440, 15
ROUNDS = 3
PARTITION, PACKS = name_of("metric_samples", 1), f"{name_of('metric_samples', 1)}_packed"
SCRAPED = "{t} + (s % 40) * interval '0.37 s', 0, {value}, NULL::bigint, NULL::timestamptz, NULL::smallint"
EXPORTED = (
    "{t} + ((n * 7919 + s) % 2000) * interval '1 us', (random() * 999)::smallint, {value}, "
    "timestamptz '2020-01-01', 345::smallint"
)
KINDS = {
    "Prometheus, counter": SCRAPED.format(t="{t}", value="(n * (s % 90) + (random() * 50)::int)::float8"),
    "Prometheus, gauge of two decimals": SCRAPED.format(t="{t}", value="round((random() * 100)::numeric, 2)::float8"),
    "Prometheus, gauge of any double": SCRAPED.format(t="{t}", value="random()"),
    "Prometheus, constant": SCRAPED.format(t="{t}", value="1::float8"),
    "OTLP, integer counter": EXPORTED.format(t="{t}", value="(n * (s % 90))::float8, (n * (s % 90))::bigint"),
    "OTLP, double gauge": EXPORTED.format(t="{t}", value="random(), NULL::bigint"),
}
FILL = """
INSERT INTO metric_samples (series_id, "timestamp", timestamp_ns, value, value_int, start_time, start_ns, received_at)
SELECT id, ts, ns, value, value_int, start_time, start_ns, ts + random() * interval '0.3 s'
FROM (
    SELECT md5({kind} || '/' || s)::uuid, {columns}
    FROM generate_series(0, {samples} - 1) n, generate_series(1, {series}) s ORDER BY n, s
) x (id, ts, ns, value, value_int, start_time, start_ns)
"""


async def best(work: Callable[[], Awaitable[object]]) -> float:
    """The least of some rounds, seconds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return min(times)


async def measure(url: str, series: int) -> None:
    sql = await asyncpg.connect(url)
    total = series * SAMPLES
    start = day(1) + timedelta(hours=12)
    each = series // len(KINDS)
    opened: dict[str, float] = {}
    for number, (kind, columns) in enumerate(KINDS.items()):
        t = f"timestamptz '{start.isoformat()}' + n * interval '{STEP} s'"
        before = await sql.fetchval("SELECT pg_total_relation_size($1)", PARTITION)
        await sql.execute(
            FILL.format(kind=number, columns=columns.format(t=t), samples=SAMPLES, series=each), timeout=600
        )
        after = await sql.fetchval("SELECT pg_total_relation_size($1)", PARTITION)
        opened[kind] = (after - before) / (each * SAMPLES)
    await sql.execute(f"VACUUM ANALYZE {PARTITION}")
    rows = await sql.fetchval("SELECT pg_total_relation_size($1)", PARTITION) / total
    print(f"{total:,} samples of {series:,} series; open: {rows:.0f} bytes a sample")
    await read(sql, "open", total, "metric_samples")
    began = time.perf_counter()
    await Keeper(url).seal(grace_hours=0)
    print(f"sealing: {total / (time.perf_counter() - began):,.0f} samples/s, with everything that belongs to it")
    left = await sql.fetchval(f"SELECT count(*) FROM {PARTITION}")  # noqa: S608
    packed = await sql.fetchval("SELECT pg_total_relation_size($1::regclass)", PACKS) / total
    print(f"sealed: {packed:.1f} bytes a sample, {left} left as rows; rows ÷ packed: {rows / packed:.1f}")
    for number, kind in enumerate(KINDS):
        size = await sql.fetchval(
            f"SELECT sum(pg_column_size(p))::float / {each * SAMPLES} FROM {PACKS} p "  # noqa: S608
            f"WHERE series_id = ANY (SELECT md5({number} || '/' || s)::uuid FROM generate_series(1, {each}) s)"
        )
        print(f"  {kind}: {opened[kind]:.0f} → {size:.1f} bytes, without indexes of the packs")
    await read(sql, "sealed", total, "v_metric_samples")
    await ask(sql, start + timedelta(seconds=(SAMPLES - 20) * STEP), each)
    await sql.close()


async def read(sql: asyncpg.Connection, state: str, total: int, table: str) -> None:
    series: list[UUID] = [
        row["series_id"]
        for row in await sql.fetch(f"SELECT DISTINCT series_id FROM {table} ORDER BY 1", timeout=600)  # noqa: S608
    ]
    begin = int((day(1) + timedelta(hours=12)).timestamp() * 1000)
    end = begin + SAMPLES * STEP * 1000 + 60_000
    reader = Reader(sql)

    async def columns() -> None:
        found = await number_columns(reader, series, begin, end, max_samples=total)
        assert len(found.values) == total

    async def newest() -> None:
        await newest_columns(reader, series, end - 360_000, end)

    plain = await best(lambda: sql.fetchrow(f"SELECT count(*), sum(value) FROM {table}", timeout=600))  # noqa: S608
    taken = await best(columns)
    print(
        f"{state}: as columns {total / taken:,.0f} samples/s; SELECT count(*), sum(value) {total / plain:,.0f}/s; "
        f"columns ÷ that: {plain / taken:.2f}; newest of {len(series):,} series in {1000 * await best(newest):.0f} ms"
    )


async def ask(sql: asyncpg.Connection, since: datetime, each: int) -> None:
    """The last samples of one metric, by SQL."""
    await sql.execute(
        "INSERT INTO metric_series (series_id, service_name, metric_name, metric_type) "
        "SELECT md5('0/' || s)::uuid, 'shop', 'counter', 'counter' FROM generate_series(1, $1) s",
        each,
    )
    await sql.execute("ANALYZE metric_series")
    which = "WHERE service_name = 'shop' AND metric_name = 'counter'"
    view = f'SELECT count(*) FROM service_metrics {which} AND "timestamp" >= $1'  # noqa: S608
    function = f"SELECT count(*) FROM service_metrics_between($1, 'infinity') {which}"  # noqa: S608
    assert await sql.fetchval(view, since) == await sql.fetchval(function, since) == 20 * each
    by_view, by_function = await best(lambda: sql.fetch(view, since)), await best(lambda: sql.fetch(function, since))
    print(
        f"the last five minutes of {each} series of {SAMPLES} packed samples: "
        f"service_metrics {1000 * by_view:.0f} ms ({1e6 * by_view / each / SAMPLES:.1f} µs for each sample they have), "
        f"service_metrics_between {1000 * by_function:.0f} ms"
    )


def main() -> None:
    series = int(sys.argv[1]) if len(sys.argv) > 1 else SERIES
    with shared_server() as server, copied_database(server) as url:
        asyncio.run(measure(url, series - series % len(KINDS)))


if __name__ == "__main__":
    main()
