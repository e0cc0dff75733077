"""A trace as OTLP against the same trace as rows: `python -m benchmarks.whole_traces`.

Medians of `stream_trace` and `find_trace`, by turns in one run, and one trace of 100,000 spans with the memory that
reading it takes. Uses a server of its own, without durability.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import asyncpg

from ares_otel.query.trace_stream import stream_trace
from ares_otel.query.traces import find_trace
from tests.support.postgres import copied_database, shared_server

ROUNDS = {10: 300, 1_000: 60}
LARGE = 100_000
_FILL = """
    INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms,
                               duration_ns, attributes, events)
    SELECT $1, decode(lpad(to_hex(g), 16, '0'), 'hex'), 'service ' || g % 20, 'GET /orders/' || g % 50, 'server',
           now() - g * interval '10 ms', 1, 1000000,
           jsonb_build_object('order.id', g, 'http.route', '/orders/' || g % 50, 'http.request.method', 'GET',
                              'http.response.status_code', 200, 'server.address', 'shop.example'),
           '[{"name": "done", "time_unix_nano": 1, "attributes": {"n": 1}}]'
    FROM generate_series(1, $2::integer) g
"""


async def main(url: str) -> None:
    """Prints the figures."""
    settings = {"plan_cache_mode": "force_custom_plan"}
    async with asyncpg.create_pool(url, min_size=0, max_size=8, server_settings=settings) as pool:
        for spans in (*ROUNDS, LARGE):
            await pool.execute(_FILL, UUID(int=spans), spans)
        await pool.execute("VACUUM ANALYZE service_spans")
        for spans, rounds in ROUNDS.items():
            trace = UUID(int=spans)
            streams, rows = await _by_turns(
                lambda trace=trace: _read(pool, trace),  # type: ignore[misc]
                lambda trace=trace: find_trace(pool, trace),  # type: ignore[misc]
                rounds,
            )
            print(
                f"{spans:6} spans: as OTLP {streams * 1e3:7.2f} ms, as rows {rows * 1e3:7.2f} ms, "
                f"ratio {streams / rows:.2f}"
            )
        before = peak = _resident()
        began, first, size = time.perf_counter(), 0.0, 0
        async for chunk in stream_trace(pool, UUID(int=LARGE)):
            first = first or time.perf_counter() - began
            size += chunk.ByteSize()
            peak = max(peak, _resident())
        took = time.perf_counter() - began
        print(
            f"{LARGE:6} spans: {size / 1e6:.0f} MB as OTLP in {took:.1f} s, the first chunk after {first:.1f} s, "
            f"{(peak - before) / 1e6:.0f} MB more memory"
        )


async def _read(pool: asyncpg.Pool, trace: UUID) -> None:
    async for _ in stream_trace(pool, trace):
        pass


async def _by_turns(
    one: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]], rounds: int
) -> tuple[float, float]:
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, times in ((one, took[0]), (other, took[1])):
            began = time.perf_counter()
            await call()
            times.append(time.perf_counter() - began)
    return statistics.median(took[0]), statistics.median(took[1])


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database_url:
        asyncio.run(main(database_url))
