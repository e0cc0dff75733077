"""One Ares for all programs of `examples/`, and what its FastAPI service was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from tests.acceptance.examples.rows import Rows, merged_rows, rows
from tests.support import javascript
from tests.support.ares_process import AresProcess, running_ares
from tests.support.both_ways import NAME, installed
from tests.support.example import EXAMPLES, Example, running
from tests.support.example_orders import Sent, orders, send
from tests.support.ports import free_port
from tests.support.postgres import copied_database


@dataclass(frozen=True, slots=True)
class Both:
    """What one process sent whose providers have both exporters, and the rows in the two databases."""

    sent: Sent
    by_otlp: Rows
    straight: Rows


@pytest.fixture(scope="session")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    """`ares-otel up` for all tests of this folder, which find their own by trace ids. It merges roll-ups often."""
    with copied_database(postgres_server) as url:
        asyncio.run(_set(url, "rollups.interval_seconds", 0.1))
        with running_ares(tmp_path_factory.mktemp("ares"), "--database-url", url) as ares:
            yield ares


async def _set(url: str, key: str, value: float) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO service_config (service_name, config_key, config_value) VALUES ('ares-api', $1, $2) "
            "ON CONFLICT (service_name, config_key) DO UPDATE SET config_value = excluded.config_value",
            key,
            str(value),
        )
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def both(ares: AresProcess, postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """The service with both exporters: by OTLP to Ares, straight into another database."""
    with copied_database(postgres_server) as straight:
        env = {
            "PYTHONPATH": installed(tmp_path_factory.mktemp("both_ways")),
            "DATABASE_URL": ares.database,
            "ARES_OTEL_DATABASE_URL": straight,
            "ARES_OTEL_API_URL": ares.http,
            "OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc,
            "OTEL_TRACES_EXPORTER": "otlp,ares_postgres",
            "OTEL_LOGS_EXPORTER": "otlp,ares_postgres",
            "OTEL_METRICS_EXPORTER": NAME,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,team=grüße",
        }
        with running(orders(env)) as service:
            sent = send(service.url)
            service.stop()
        return Both(sent, asyncio.run(rows(ares.database)), asyncio.run(merged_rows(straight)))


@dataclass(frozen=True, slots=True)
class Straight:
    """What was written without a server in between, and the trace of a checkout in the JavaScript service, which places
    an order with this one and sends by OTLP. None where Node or its packages are missing."""

    sent: Sent
    checkout: str | None


@pytest.fixture(scope="session")
def straight(ares: AresProcess, both: Both) -> Straight:
    """The service with the exporters into PostgreSQL and no other, into Ares's database. After `both`, whose rows were
    looked at by then: the name of the service is the same."""
    env = {f"OTEL_{signal}_EXPORTER": "ares_postgres" for signal in ("TRACES", "LOGS", "METRICS")}
    with running(orders({"DATABASE_URL": ares.database, "ARES_OTEL_DATABASE_URL": ares.database, **env})) as service:
        sent = send(service.url)
        checkout = _check_out(ares, service)
        service.stop()
    return Straight(sent, checkout)


def _check_out(ares: AresProcess, service: Example) -> str | None:
    try:
        folder = javascript.install(EXAMPLES / "javascript", ("telemetry.js", "checkout.js"))
    except javascript.UnavailableError:
        return None
    port = free_port()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_http, "PORT": str(port), "ORDERS_URL": service.url}
    with running(Example(["node", "--require", "./telemetry.js", "checkout.js"], port, env, folder)) as checkout:
        answer = httpx.post(f"{checkout.url}/checkout?symbol=BTC-USD&amount=1.5", timeout=60, trust_env=False)
        assert answer.status_code == 201, answer.text
        checkout.stop()
    return str(answer.json()["trace_id"])
