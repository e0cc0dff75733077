"""What roll-ups cost and give: `python -m benchmarks.rollups [SPANS]`, on a server of its own without durability.

Prints what increments add to a COPY, what merging takes of the server and of Ares, what the edges of a busy minute
take, and how long answers take with 100,000 spans in the last hour and with SPANS (2,000,000 when not given).
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import asyncpg

from ares_otel.cli.bench.data import Source
from ares_otel.model.batch import Batch
from ares_otel.model.signal import TRACES
from ares_otel.query.service_map import find_services
from ares_otel.query.services import service_performance
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rollups import edges, last_hour
from ares_otel.storage.rollups.job import Rollups
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import SPAN_ROLLUPS
from ares_otel.storage.rows.rollups import SpanIncrements
from ares_otel.storage.transaction import copy_rows
from tests.support.postgres import copied_database, shared_server

SERVICES, OPERATIONS, SPANS_A_REQUEST, GROUP = 40, 20, 512, 8
REQUESTS = 400
TRACES_OF_MINUTES = (3_000, 40_000)
_ATTRIBUTES = (
    {
        "http.request.method": "GET",
        "url.path": "/api/things/17",
        "server.address": "things",
        "server.port": 8080,
        "http.response.status_code": 200,
        "user_agent.original": "python-httpx/0.28.1",
        "network.protocol.version": "1.1",
    },
    {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "server.address": "db",
        "server.port": 5432,
        "db.query.text": "SELECT * FROM things WHERE id = $1 AND that = $2",
        "db.operation.name": "SELECT",
    },
    {"db.system": "redis", "server.address": "cache", "db.operation.name": "GET", "network.peer.address": "10.0.0.1"},
)
"""Of a call of a service, and of calls of two databases."""
_MINUTE = """
INSERT INTO service_spans (trace_id, span_id, parent_span_id, service_name, operation_name, kind, start_time,
                           duration_ms, duration_ns, attributes)
SELECT md5(t::text)::uuid, decode(lpad(to_hex(t * 8 + k), 16, '0'), 'hex'),
       CASE WHEN k > 0 THEN decode(lpad(to_hex(t * 8 + (ARRAY[0,0,1,2,2,4,5,5])[k + 1]), 16, '0'), 'hex') END,
       'service-' || (t * 7 + (ARRAY[0,0,1,1,1,2,2,2])[k + 1] * 13) % 40, 'operation ' || k,
       (ARRAY['server','client','server','client','client','server','client','internal'])[k + 1],
       $2::timestamptz + t::float8 / $1 * interval '59 seconds' + k * interval '2 ms', 5, 5000000,
       ($3::jsonb[])[(ARRAY[1,1,1,2,1,1,3,1])[k + 1]]
FROM generate_series(1, $1::integer) t, generate_series(0, 7) k ORDER BY k, t
"""
_COUNTS = """
INSERT INTO span_rollups (minute, service_name, operation_name, kind, calls, errors, duration_ns_sum, duration_ns_max,
                          buckets, counts)
SELECT date_trunc('minute', start_time), service_name, operation_name, kind, count(*), 0, 0, 0, '{-1}', ARRAY[count(*)]
FROM service_spans WHERE start_time >= $1 AND start_time < $1 + interval '1 minute' GROUP BY 1, 2, 3, 4
"""


async def server_seconds(connection: asyncpg.Connection) -> Callable[[], float]:
    """CPU seconds that the server took for a connection."""
    place = Path(f"/proc/{await connection.fetchval('SELECT pg_backend_pid()')}/schedstat")
    return lambda: int(place.read_text().split()[0]) / 1e9


async def increments_beside_rows(connection: asyncpg.Connection) -> None:
    """COPY with and without increments, in turns."""
    windows = await read_windows(connection)
    cpu = await server_seconds(connection)
    bodies = Source(3, REQUESTS).requests(TRACES, REQUESTS, now_ns=time.time_ns()).bodies
    both = []
    for kept in (True, False):
        group = []
        for body in bodies:
            batch = Batch(TRACES, body, received_ns=time.time_ns(), receiver="bench", transport="none")
            encoded = encode_batch(batch, windows)
            if not kept:
                encoded.tables.pop(SPAN_ROLLUPS)
            group.append(encoded)
        both.append(group)
    spent = [0.0, 0.0]
    for start in range(0, REQUESTS, GROUP):
        for kind in (0, 1) if start // GROUP % 2 else (1, 0):
            before = cpu()
            async with connection.transaction():
                await copy_rows(connection, both[kind][start : start + GROUP])
            spent[kind] += cpu() - before
    spans = REQUESTS * SPANS_A_REQUEST
    size = sum(len(encoded.tables[SPAN_ROLLUPS].data) for encoded in both[0]) / sum(one.size for one in both[1])
    print(
        f"increments: {size:.1%} more bytes; COPY takes {spent[0] / spans * 1e6:.2f} µs of the server a span with them,"
    )
    print(f"  {spent[1] / spans * 1e6:.2f} without, ratio {spent[0] / spent[1]:.3f}")


async def merge(connection: asyncpg.Connection) -> None:
    """What the step before left is merged."""
    async with transaction(connection):
        await last_hour.move(connection)
    spans = await connection.fetchval("SELECT sum(calls)::bigint FROM span_rollup_increments")
    cpu = await server_seconds(connection)
    job = Rollups(_never)
    before, here = cpu(), time.process_time()
    await job._merge(connection, SPAN_ROLLUPS)
    print(
        f"merging: {(cpu() - before) / spans * 1e6:.2f} µs of the server and "
        f"{(time.process_time() - here) / spans * 1e6:.2f} µs of Ares a span, {spans:,} spans at once"
    )


async def find_edges(connection: asyncpg.Connection) -> None:
    """The edges of a minute that is looked at as a whole, and of one of which a part tells about all of it."""
    for hours, traces in enumerate(TRACES_OF_MINUTES, 2):
        minute = await connection.fetchval("SELECT date_trunc('minute', now()) - $1 * interval '1 hour'", hours)
        await connection.execute(_MINUTE, traces, minute, [json.dumps(one) for one in _ATTRIBUTES])
        await connection.execute(_COUNTS, minute)
        await connection.execute("INSERT INTO service_edge_minutes (minute, changed_at) VALUES ($1, now())", minute)
        await connection.execute("ANALYZE service_spans")
        cpu = await server_seconds(connection)
        spent = []
        for _ in range(5):
            before = cpu()
            async with transaction(connection):
                found = await edges.find_edges(connection, minute, minute)
            spent.append(cpu() - before)
        print(f"edges of a minute of {traces * 8:,} spans: {median(spent):.2f} s of the server, {found} edges")


async def fill(connection: asyncpg.Connection, requests: int, seed: int, minutes: float) -> None:
    """Increments of requests like an SDK's: each of one service, many of a few, durations of two orders of size."""
    source = random.Random(seed)
    data = bytearray()
    now = time.time_ns()
    weights = [[1 / rank for rank in range(1, number + 1)] for number in (SERVICES, OPERATIONS)]
    for _ in range(requests):
        increments = SpanIncrements()
        note = increments.of_service(f"service-{source.choices(range(SERVICES), weights[0])[0]}").note
        at = now - int(source.random() * minutes * 60e9)
        for operation in source.choices(range(OPERATIONS), weights[1], k=SPANS_A_REQUEST):
            taken = int(source.lognormvariate(16 + operation / 10, 0.8))
            note(at, f"GET /api/things/{operation}", "server", taken, source.random() < 0.01)
        data += increments.rows(0).data
    stream = io.BytesIO(COPY_HEADER + data + COPY_TRAILER)
    await connection.copy_to_table(SPAN_ROLLUPS, source=stream, columns=COPY_COLUMNS[SPAN_ROLLUPS], format="binary")


async def answers(few: str, many: str, most: int) -> None:
    """Medians with few and with many spans in the last hour, asked in turns."""
    questions: dict[str, Callable[[asyncpg.Pool], Awaitable[object]]] = {
        "performance": service_performance,
        "services": find_services,
    }
    job = Rollups(_never)
    async with asyncpg.create_pool(few, min_size=2) as small, asyncpg.create_pool(many, min_size=2) as large:
        for pool, spans in ((small, 100_000), (large, most)):
            async with pool.acquire() as connection:
                for start in range(0, spans, 512_000):
                    await fill(connection, min(1000, (spans - start) // SPANS_A_REQUEST + 1), start, 59)
                    await job._round(connection)
                await connection.execute("VACUUM ANALYZE")
        for what in ("everything merged", "100 requests not merged"):
            for name, question in questions.items():
                taken: tuple[list[float], list[float]] = ([], [])
                for _ in range(41):
                    for times, pool in zip(taken, (small, large), strict=True):
                        began = time.perf_counter()
                        await question(pool)
                        times.append((time.perf_counter() - began) * 1000)
                low, high = map(median, taken)
                print(
                    f"{name}, {what}: {low:.1f} ms with 100,000 spans, {high:.1f} ms with {most:,}, "
                    f"ratio {high / low:.2f}"
                )
            for pool in (small, large):
                async with pool.acquire() as connection:
                    await fill(connection, 100, 1, 1)


async def _never() -> asyncpg.Connection:
    raise NotImplementedError


async def main(url: str, other: str, most: int) -> None:
    """Prints all of it."""
    connection = await asyncpg.connect(url)
    await increments_beside_rows(connection)
    await merge(connection)
    await find_edges(connection)
    await connection.execute("TRUNCATE span_rollups, operations_last_hour, service_operations, service_edge_minutes")
    await connection.close()
    await answers(url, other, most)


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as first, copied_database(server) as second:
        asyncio.run(main(first, second, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000))
