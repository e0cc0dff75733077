"""What searches for traces cost over a million spans: `python -m benchmarks.trace_search [SPANS]`.

Four fifths of them lie in eight sealed days, the rest in the open partition. Uses a server of its own, without
durability; filling and sealing take a minute or two.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import LEVELS, Attribute, Call, Field, Scalar
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.search.summaries import summaries_of
from ares_otel.storage.partitions import list_partitions
from tests.support.partitions import Keeper, day, make_partition
from tests.support.postgres import copied_database, shared_server

DAYS, ROUNDS, WARM = 8, 20, 3
READ_SETTINGS = {"plan_cache_mode": "force_custom_plan"}
_RESOURCES = """
INSERT INTO otel_resources (resource_id, service_name, attributes)
SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(r), 12, '0'))::uuid, 'service-' || r % 48,
       jsonb_build_object('service.name', 'service-' || r % 48, 'host.name', 'node-' || r, 'k8s.pod.name', 'pod-' || r)
FROM generate_series(0, 1999) r
"""
_SPANS = """
INSERT INTO service_spans (trace_id, span_id, parent_span_id, service_name, operation_name, kind, start_time,
                           duration_ms, duration_ns, status, attributes, events, links, resource_id)
SELECT ('00000000-0000-0000-' || lpad(to_hex($4::integer), 4, '0') || '-' || lpad(to_hex(g / 10), 12, '0'))::uuid,
       decode(lpad(to_hex(g), 16, '0'), 'hex'),
       CASE WHEN g % 10 > 0 THEN decode(lpad(to_hex(g - g % 10), 16, '0'), 'hex') END,
       'service-' || h % 2000 % 48, 'GET /orders/' || g % 50, 'server', $1::timestamptz - g * $2::interval, d / 1e6, d,
       CASE WHEN g % 500 = 0 THEN 'error' ELSE 'unset' END,
       jsonb_build_object(
           'enduser.id', 'user-' || g % 20000, 'http.route', '/orders/' || g % 50, 'server.address', 'host-' || g % 100,
           'http.response.status_code', CASE WHEN g % 500 = 0 THEN 500 ELSE 200 END, 'url.path', '/orders/' || g,
           'network.protocol.version', '1.1', 'thread.id', g % 64, 'order.id', 'x' || g
       ),
       CASE WHEN g % 10 = 0 THEN jsonb_build_array(jsonb_build_object(
           'name', 'exception', 'time_unix_nano', 1,
           'attributes', jsonb_build_object('exception.type', 'E' || g % 1000, 'n', g)
       )) ELSE '[]' END,
       CASE WHEN g % 50 = 0 THEN jsonb_build_array(jsonb_build_object(
           'trace_id', lpad(to_hex(g), 32, '0'), 'span_id', lpad(to_hex(g), 16, '0'), 'attributes', '{}'::jsonb
       )) ELSE '[]' END,
       ('00000000-0000-0000-0000-' || lpad(to_hex(h % 2000), 12, '0'))::uuid
FROM (
    SELECT g, hashint4(g) & 2147483647 AS h, (hashint8(g) & 1073741823)::bigint AS d
    FROM generate_series(1, $3::integer) g
) x
"""
_SEALED = Instant(day(1))


def _service(number: int) -> str:
    return f"service-{number % 48}"


def _eq(reference: Attribute | Field, text: str) -> Call:
    return Call("eq", (reference, Scalar(text)))


SEARCHES: dict[str, Callable[[int], TraceQuery]] = {
    "a service": lambda n: TraceQuery(service=_service(n)),
    "a service and operation": lambda n: TraceQuery(service=_service(n), operation=f"GET /orders/{n % 50}"),
    "a service and a tag that one span in 500 has": lambda n: TraceQuery(
        service=_service(n), attributes=(Wanted("http.response.status_code", "500", loose=True),), levels=LEVELS
    ),
    "any service, error=true": lambda n: TraceQuery(attributes=(Wanted("error", True),)),
    "any service, a tag that 50 spans have; sealed days only": lambda n: TraceQuery(
        attributes=(Wanted("enduser.id", f"user-{n * 37 % 20000}", loose=True),), levels=LEVELS, end=_SEALED
    ),
    "any service, a tag that none has": lambda n: TraceQuery(
        attributes=(Wanted("enduser.id", f"nobody-{n}", loose=True),), levels=LEVELS
    ),
    "any service, an attribute of one resource in 2,000": lambda n: TraceQuery(
        attributes=(Wanted("k8s.pod.name", f"pod-{n * 13 % 2000}"),)
    ),
    "filter: an attribute of an event": lambda n: TraceQuery(
        filter=_eq(Attribute("exception.type", "event"), f"E{n % 100 * 10}")
    ),
    "filter: duration > 1073ms": lambda n: TraceQuery(filter=Call("gt", (Field("duration", "span"), Scalar("1073ms")))),
    "filter: a regular expression for names": lambda n: TraceQuery(
        filter=Call("regex", (Field("name", "span"), Scalar(f"/{n % 50}$")))
    ),
    "filter: a service, and a regular expression for an attribute of as many values as spans": lambda n: TraceQuery(
        filter=Call(
            "and",
            (
                _eq(Field("service", "resource"), _service(n)),
                Call("regex", (Attribute("url.path"), Scalar(f"{n % 10}7$"))),
            ),
        )
    ),
}


async def prepare(url: str, spans: int) -> None:
    """The spans, the newest of them just now, and search indexes on the days before."""
    sql = await asyncpg.connect(url)
    await sql.execute(_RESOURCES)
    there = {partition.name for partition in await list_partitions(sql)}
    for ago in range(1, DAYS + 1):
        if f"service_spans_{day(ago):%Y%m%d}" not in there:
            await make_partition(sql, "service_spans", ago)
        share = spans // 10
        end = day(ago) + timedelta(hours=23, minutes=50)
        await sql.execute(_SPANS, end, timedelta(hours=22) / share, share, ago)
    now, rest = datetime.now(UTC), spans // 5
    await sql.execute(_SPANS, now, (now - day(0)) / (rest * 1.05), rest, 0)
    await Keeper(url).seal(grace_hours=0)
    # What a server does by itself when it is not one of a test: without it the BRIN index knows nothing of new pages.
    await sql.execute("VACUUM (ANALYZE) service_spans")
    await sql.execute("ANALYZE otel_resources")
    await sql.close()


async def timed(name: str, work: Callable[[int], Awaitable[object]]) -> None:
    times = []
    for number in range(WARM + ROUNDS):
        started = time.perf_counter()
        await work(number * 7 + 1)
        times.append((time.perf_counter() - started) * 1000)
    print(f"{name}: p50 {statistics.median(times[WARM:]):,.0f} ms", flush=True)


async def measure(url: str, spans: int) -> None:
    await prepare(url, spans)
    async with asyncpg.create_pool(url, min_size=1, max_size=4, server_settings=READ_SETTINGS) as pool:
        for name, query in SEARCHES.items():
            await timed(name, lambda number, query=query: find_traces(pool, query(number)))  # type: ignore[misc]
        found = await find_traces(pool, TraceQuery(service=_service(1)))
        await timed(f"summaries of {len(found)} found traces", lambda number: summaries_of(pool, found))
        for suffix in ("attributes_gin", "events_gin", "links_gin"):
            size = await pool.fetchval(
                "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname LIKE 'service_spans_%' || $1", suffix
            )
            print(f"{suffix}: {float(size) / (spans * 4 // 5):.1f} bytes a span")


def main() -> None:
    """Prints what each search takes, and what the search indexes take."""
    spans = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with shared_server() as server, copied_database(server) as url:
        asyncio.run(measure(url, spans))


if __name__ == "__main__":
    main()
