"""What the API adds to its SQL: `python -m benchmarks.api_overhead [ROWS]`.

For each endpoint the median time of an answer over HTTP from a real door, and that of the same statements over the same
kind of connection, by turns in one run. Uses a server of its own, without durability.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import CollectorRegistry

from ares_otel.api.app import create_app
from ares_otel.api.problems import problem_body
from ares_otel.pipeline.http_door import HttpDoor
from ares_otel.query import reader
from tests.support.postgres import copied_database, shared_server

ROUNDS = 60
TRACE = UUID(int=77)
_FILL = (
    """
    INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms,
                               duration_ns, status, attributes)
    SELECT CASE WHEN g % ($2 / 20) = 0 THEN $1::uuid ELSE gen_random_uuid() END,
           decode(lpad(to_hex(g), 16, '0'), 'hex'), 'service ' || g % 20, 'GET /orders/' || g % 50, 'server',
           $3::timestamptz - g * interval '10 ms', g % 1000 / 1e3, g % 1000 * 1000, 'ok',
           jsonb_build_object('order.id', g, 'http.route', '/orders/' || g % 50, 'http.request.method', 'GET',
                              'http.response.status_code', 200, 'server.address', 'shop.example')
    FROM generate_series(1, $2::integer) g
    """,
    """
    INSERT INTO service_logs (trace_id, service_name, log_level, message, "timestamp", metadata)
    SELECT CASE WHEN g % ($2 / 20) = 0 THEN $1::uuid END, 'service ' || g % 20, 'INFO', 'message ' || g,
           $3::timestamptz - g * interval '10 ms', jsonb_build_object('order.id', g)
    FROM generate_series(1, $2::integer) g
    """,
    """
    INSERT INTO metric_series (series_id, service_name, metric_name, metric_type, unit, labels)
    SELECT md5(g::text)::uuid, 'service ' || g % 20, 'metric ' || g % 100, 'gauge', '', '{"http.route": "/orders"}'
    FROM generate_series(1, CASE WHEN $1::uuid IS NULL OR $3::timestamptz IS NULL THEN 0 ELSE least($2, 400) END) g
    """,
    """
    INSERT INTO metric_samples (series_id, "timestamp", value)
    SELECT md5((g % 400 + 1)::text)::uuid, $3::timestamptz - g * interval '10 ms', g
    FROM generate_series(1, CASE WHEN $1::uuid IS NULL THEN 0 ELSE $2::integer END) g
    """,
)
PATHS = (
    "logs?service=service%207",
    "logs?service=service%207&limit=20",
    "spans?service=service%207&hours=1",
    "metrics?metric=metric%207",
    f"trace/{TRACE.hex}",
    "performance",
    "health",
)


class Recorded:
    """The statements that an endpoint runs."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, list[object]]] = []
        whole = reader.Reader._fetch

        async def fetch(door: Any, seconds: float | None, statement: Any, values: Any) -> list[Any]:
            self.statements.append(statement.bind(values))
            return await whole(door, seconds, statement, values)

        reader.Reader._fetch = fetch  # type: ignore[method-assign]


async def fill(url: str, rows: int) -> None:
    sql = await asyncpg.connect(url)
    for text in _FILL:
        await sql.execute(text, TRACE, rows, datetime.now(UTC), timeout=600)
    await sql.execute("VACUUM ANALYZE", timeout=600)
    await sql.close()


async def milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


def _name(path: str) -> str:
    return path.split("?")[0].split("/")[0]


class Client:
    """One kept connection, and nothing that would be measured with it."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], port: int) -> None:
        self._reader, self._writer = streams
        self._port = port

    async def get(self, path: str) -> int:
        """Bytes of the body, of an answer that must be 200."""
        address = f"/api/v1/observability/{path}"
        self._writer.write(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        await self._reader.readexactly(length)
        return length


async def measure(url: str) -> None:
    recorded = Recorded()
    settings = {"plan_cache_mode": "force_custom_plan"}
    async with asyncpg.create_pool(url, min_size=1, max_size=4, server_settings=settings) as pool:

        async def ready() -> list[str]:
            return []

        app = create_app(pool, version="0", registry=CollectorRegistry(), ready=ready)
        door = HttpDoor(
            "http", app, host="127.0.0.1", port=0, setting="--http-port", error_bodies=problem_body, lifespan="on"
        )
        await door.start()
        sql = await asyncpg.connect(url, server_settings=settings)
        client = Client(await asyncio.open_connection("127.0.0.1", door.port), door.port)
        for path in PATHS:
            await client.get(path)  # partitions are known from here on
            recorded.statements.clear()
            size = await client.get(path)
            statements = list(recorded.statements)

            async def alone(statements: list[tuple[str, list[object]]] = statements) -> None:
                for text, arguments in statements:
                    await sql.fetch(text, *arguments)

            async def whole(path: str = path) -> None:
                await client.get(path)

            taken = [(await milliseconds(whole), await milliseconds(alone)) for _ in range(ROUNDS)]
            endpoint, statement = (statistics.median(times) for times in zip(*taken, strict=True))
            bound = 2 * statement + 2
            print(
                f"{_name(path):12} {size:>7} bytes, {len(statements)} SQL: "
                f"endpoint {endpoint:6.2f} ms, SQL {statement:6.2f} ms, ratio {endpoint / statement:.2f}, "
                f"{'within' if endpoint <= bound else 'OVER'} 2 × SQL + 2 ms",
                flush=True,
            )
        await sql.close()
        await door.stop()


async def main(url: str, rows: int) -> None:
    await fill(url, rows)
    await measure(url)


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(main(database, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
