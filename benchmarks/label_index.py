"""How long matchers take over many series: `python -m benchmarks.label_index [SERIES]`.

Times are medians, and ratios to an indexed `count(*)` over as many rows in the same run, which any reader of the index
could not beat by much. Uses a server of its own, without durability.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from functools import partial

import asyncpg

from ares_otel.model.prometheus.selector import parse_selector
from ares_otel.query.prometheus.index import entries
from ares_otel.query.prometheus.index_job import SeriesIndex
from ares_otel.query.prometheus.indexing import catch_up
from ares_otel.query.reader import reading
from tests.support.postgres import copied_database, shared_server

ROUNDS = 9
METRICS, INSTANCES = 100, 200
_FILL = (
    """
    INSERT INTO otel_resources (resource_id, service_name, attributes)
    SELECT md5('resource ' || n)::uuid, 'service ' || n % 20,
           jsonb_build_object('service.name', 'service ' || n % 20, 'service.instance.id', 'pod-' || n,
                              'host.name', 'node-' || n % 50)
    FROM generate_series(0, $1::integer - 1) n
    """,
    """
    INSERT INTO metric_series (series_id, service_name, metric_name, metric_type, temporality, labels, resource_id)
    SELECT md5(n::text)::uuid, 'service ' || n % 20, 'metric.' || n % $1::integer, 'counter', 'cumulative',
           jsonb_build_object('http.request.method', (ARRAY['GET', 'PUT', 'POST'])[1 + n % 3],
                              'http.route', '/route/' || (n / $1) % 40, 'http.response.status_code', 200 + n % 4 * 100,
                              'server.address', 'shop.example', 'series', n::text),
           md5('resource ' || n % $2::integer)::uuid
    FROM generate_series(0, $3::integer - 1) n
    """,
)
QUESTIONS = (
    '{series="77777"}',
    'metric_7_total{http_route="/route/3", http_request_method="GET"}',
    'metric_7_total{http_route=~"/route/3|/route/4", instance="pod-107"}',
    'metric_7_total{http_route!~"/route/[1-9].*"}',
    '{instance="pod-10", http_route!="/route/3", __name__=~"metric_1.*"}',
    'metric_7_total{job="service 7"}',
    '{job="service 7"}',
    'metric_7_total{http_route!="/route/3"}',
    'metric_7_total{http_route=~"/route/1.*"}',
    '{http_route=~"/route/(1|2).", instance=~"pod-1|pod-2"}',
    '{__name__=~"metric_1.*", instance="pod-10"}',
    'metric_7_total{http_route!~"/route/1.*"}',
    'metric_7_total{missing=""}',
    '{series=~".*77"}',
    '{series=~"77.*", job!="service 7"}',
    'metric_7_total{series!~".*77"}',
)


async def fill(sql: asyncpg.Pool, series: int) -> None:
    await sql.execute(_FILL[0], INSTANCES, timeout=600)
    await sql.execute(_FILL[1], METRICS, INSTANCES, series, timeout=600)
    await sql.execute("VACUUM ANALYZE metric_series, otel_resources", timeout=600)


async def found(pool: asyncpg.Pool, question: str) -> tuple[int, float]:
    """How many series were found, and in how many milliseconds."""
    async with reading(pool) as reader:
        began = time.perf_counter()
        await catch_up(reader)
        count = 0
        async for page in entries(reader, [parse_selector(question)]):
            count += len(page)
        return count, (time.perf_counter() - began) * 1000


async def measure(url: str, series: int) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:
        await fill(pool, series)
        began = time.perf_counter()
        await SeriesIndex(partial(asyncpg.connect, url)).run()
        taken = time.perf_counter() - began
        print(f"indexed {series} series in {taken:.1f} s, {taken / series * 1e6:.0f} µs each")
        await pool.execute("VACUUM ANALYZE prometheus_series, prometheus_labels", timeout=600)
        sizes = await pool.fetchrow(
            "SELECT pg_table_size('prometheus_series') AS rows, pg_indexes_size('prometheus_series') AS indexes, "
            "pg_total_relation_size('prometheus_labels') AS labels, pg_total_relation_size('metric_series') AS series"
        )
        print(", ".join(f"{name} {size / series:.0f} bytes a series" for name, size in sizes.items()))
        await pool.execute(
            "UPDATE prometheus_index SET checked_until = now()"
        )  # what appears is looked at again by each read for some 20 seconds
        for question in QUESTIONS:
            times, floors, count = [], [], 0
            for _ in range(ROUNDS):
                count, taken = await found(pool, question)
                times.append(taken)
                began = time.perf_counter()
                await pool.fetchval(
                    "SELECT count(*) FROM (SELECT FROM prometheus_series WHERE tenant_id = 0 "
                    "ORDER BY series_id LIMIT $1) s",
                    max(count, 1),
                )
                floors.append((time.perf_counter() - began) * 1000)
            middle, floor = statistics.median(times), statistics.median(floors)
            print(f"{question:55} {count:>6} series {middle:7.1f} ms, ÷ count(*) {middle / floor:6.1f}", flush=True)


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(measure(database, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
