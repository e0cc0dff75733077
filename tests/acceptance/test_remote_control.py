"""A running FastAPI service obeys curl: levels, sampling and metrics change without a restart, and the data say when.
The times are printed (`pytest -s`)."""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, environment, running_ares
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.postgres import copied_database

ROOT = Path(__file__).parents[2]
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
STRAIGHT = {f"OTEL_{signal}_EXPORTER": "ares_postgres" for signal in ("TRACES", "LOGS", "METRICS")}


@pytest.fixture(scope="module")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    with (
        copied_database(postgres_server) as url,
        running_ares(tmp_path_factory.mktemp("ares"), "--database-url", url) as process,
    ):
        yield process


def curl(method: str, url: str, *more: str) -> float:
    """One request with the real curl; when it was sent."""
    sent = time.monotonic()
    command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-X", method, url, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return sent


def start(port: int, doors: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.remote_app", str(port)],
        env=environment({**SOON, **doors, "NO_PROXY": "*"}),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("way", ["REST", "SQL"])
async def test_a_running_service_obeys_and_the_data_say_so(ares: AresProcess, way: str) -> None:
    port = free_port()
    doors = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc, "ARES_OTEL_API_URL": ares.http}
    if way == "SQL":
        doors = {"ARES_OTEL_DATABASE_URL": ares.database, **STRAIGHT}
    service = start(port, doors)
    sql = await asyncpg.connect(ares.database)
    await sql.execute("DELETE FROM service_config WHERE service_name = 'orders'")
    began = await sql.fetchval("SELECT now()")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            await obeys(ares, client, sql, began, way, port)
        service.send_signal(signal.SIGTERM)
        await eventually(lambda: asyncio.sleep(0, service.poll() is not None), every=0.02)
        assert await sql.fetch("SELECT * FROM service_registry WHERE port = $1", port) == [], "it has left"
    finally:
        service.kill()
        _, said = service.communicate()
        print(said[-2000:])
        await sql.close()
    assert service.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in said


async def obeys(
    ares: AresProcess, client: httpx.AsyncClient, sql: asyncpg.Connection, began: Any, way: str, port: int
) -> None:
    times: list[float] = []

    async def up() -> bool:
        try:
            return (await client.get("/orders/1")).status_code == 200
        except httpx.TransportError:
            return False

    async def change(method: str, key: str, value: str | None = None) -> int:
        """By curl; the id of the change, when it is in force."""
        body = [] if value is None else ["-d", f'{{"value": {value}, "updated_by": "alice"}}']
        query = "?updated_by=alice" if value is None else ""
        sent = await asyncio.to_thread(curl, method, f"{ares.http}/api/v1/config/orders/{key}{query}", *body)
        newest: int = await sql.fetchval("SELECT max(id) FROM service_config_history WHERE service_name = 'orders'")

        async def in_force() -> bool:
            return bool((await client.get("/revision")).json() == newest)

        await eventually(in_force, every=0.001)
        times.append(time.monotonic() - sent)
        return newest

    async def stored(statement: str, *values: Any, least: int = 1) -> list[Any]:
        async def look() -> list[Any]:
            rows: list[Any] = await sql.fetch(statement, began, *values)
            return rows if len(rows) >= least else []

        return await eventually(look, every=0.02)

    spans = (
        "SELECT (attributes->>'ares.config.revision')::bigint AS revision FROM service_spans WHERE start_time >= $1 "
        "AND service_name = 'orders' AND operation_name = $2"
    )
    await eventually(up, every=0.05)
    [row] = await stored("SELECT * FROM service_registry WHERE registered_at >= $1 AND registered AND port = $2", port)
    assert (row["name"], row["version"], row["status"]) == ("orders", "1.4.2", "online")

    # logging.level: the DEBUG line of a request is stored, and names the change
    debug = await change("PUT", "logging.level", '"debug"')
    await client.get("/orders/2")
    lines = await stored(
        "SELECT h.changed_by, h.new_value FROM service_logs l JOIN service_config_history h "
        "ON h.id = (l.metadata->>'ares.config.revision')::bigint "
        "WHERE l.timestamp >= $1 AND l.service_name = 'orders' AND l.log_level = 'DEBUG' AND l.message = $2",
        "looked up order 2",
    )
    assert [tuple(line) for line in lines] == [("alice", '"debug"')]
    await change("DELETE", "logging.level")

    # sampling.ratio and sampling.rules: of two operations, one is kept
    none = await change("PUT", "sampling.ratio", "0")
    await client.get("/health")
    rule = await change("PUT", "sampling.rules", '[{"operation": "GET /orders/*", "ratio": 1, "kind": "server"}]')
    await client.get("/health")
    await client.get("/orders/3")
    for key in ("sampling.ratio", "sampling.rules"):
        last = await change("DELETE", key)
    await client.get("/health")
    assert [r["revision"] for r in await stored(f"{spans} AND attributes ? 'ares.config.revision'", "GET /health")] == [
        last
    ]
    kept = [r["revision"] for r in await stored(spans, "GET /orders/{number}", least=3)]
    assert {revision for revision in kept if revision is not None and revision >= none} == {rule}
    assert debug in kept

    # metrics.interval: points come that would have come in a minute
    await change("PUT", "metrics.interval", "0.1")
    gauge = (
        "SELECT metric_value FROM service_metrics WHERE timestamp >= $1 AND service_name = 'orders' "
        "AND metric_name = 'ares.config.revision'"
    )
    await stored(gauge, least=3)
    await change("DELETE", "metrics.interval")
    print(
        f"\n{way}: curl started → in force in the service: median {statistics.median(times) * 1000:.0f} ms, "
        f"most {max(times) * 1000:.0f} ms, n={len(times)}"
    )
