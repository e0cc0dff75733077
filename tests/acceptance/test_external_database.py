"""`--database-url`: Debian's PostgreSQL 15, directly and behind PgBouncer, is as good as the embedded server."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, running_ares
from tests.support.debian_postgres import debian_server, needs_debian_postgres, needs_pgbouncer, pgbouncer
from tests.support.otlp_samples import logs_request, metrics_request, trace_request

pytestmark = needs_debian_postgres


@pytest.fixture(
    scope="module",
    params=["directly", pytest.param("pgbouncer", marks=needs_pgbouncer)],
)
def external(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    folder = tmp_path_factory.mktemp("external")
    with debian_server() as server:
        if request.param == "directly":
            with running_ares(folder, "--database-url", server.tcp_url()) as ares:
                yield ares
        else:
            with pgbouncer(server, "transaction") as url, running_ares(folder, "--database-url", url) as ares:
                assert "PgBouncer" in ares.stderr
                yield ares


async def test_every_signal_is_stored_and_read_back(external: AresProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            trace = trace_request(service="far-away", spans=5)
            logs, metrics = logs_request(service="far-away"), metrics_request("far-away")
            for name, request in {"traces": trace, "logs": logs, "metrics": metrics}.items():
                answer = await client.post(
                    f"{external.otlp_http}/v1/{name}",
                    content=request.SerializeToString(),
                    headers={"Content-Type": "application/x-protobuf"},
                )
                assert answer.status_code == 200, answer.text
        api = f"{external.http}/api/v1/observability"
        span = trace.resource_spans[0].scope_spans[0].spans[0]
        assert len((await client.get(f"{api}/trace/{span.trace_id.hex()}")).json()["spans"])
        for _ in range(10):  # more than one server connection of the pooler, prepared statements and all
            assert (await client.get(f"{api}/logs", params={"service": "far-away"})).json()["logs"]
            assert (await client.get(f"{api}/metrics", params={"service": "far-away"})).json()["metrics"]
            assert (await client.get(f"{api}/performance", params={"service": "far-away"})).json()["operations"]
        assert (await client.get(f"{external.http}/readyz")).status_code == 200
    connection = await asyncpg.connect(external.database, statement_cache_size=0)
    assert await connection.fetchval("SELECT count(*) FROM service_spans WHERE service_name = 'far-away'") == 15
    await connection.close()
