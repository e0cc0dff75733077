"""The tee: everything is stored here first, then goes to another backend as well, whose troubles stay there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.otlp_samples import logs_request, metrics_request, trace_request
from tests.support.postgres import copied_database

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "${env:ARES_OTEL_HOST}:${env:ARES_OTEL_OTLP_GRPC_PORT}"}
      http: {endpoint: "${env:ARES_OTEL_HOST}:${env:ARES_OTEL_OTLP_HTTP_PORT}"}
exporters:
  postgres:
  otlp/copy: {endpoint: "${env:FAR_GRPC}", tls: {insecure: true}}
  otlphttp/copy: {endpoint: "${env:FAR_HTTP}", compression: zstd}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [postgres, otlp/copy]}
    logs: {receivers: [otlp], exporters: [postgres, otlphttp/copy]}
    metrics: {receivers: [otlp], exporters: [postgres, otlp/copy]}
"""


@pytest.fixture
def pair(postgres_server: str, tmp_path: Path) -> Iterator[tuple[AresProcess, AresProcess]]:
    """An Ares, and the one that gets copies of everything."""
    with (
        copied_database(postgres_server) as far_url,
        copied_database(postgres_server) as near_url,
        running_ares(tmp_path / "far", "--database-url", far_url) as far,
    ):
        file = tmp_path / "tee.yaml"
        file.write_text(CONFIG)
        there = {"FAR_GRPC": far.doors["otlp-grpc"], "FAR_HTTP": far.otlp_http}
        with running_ares(tmp_path, "--database-url", near_url, "--config", str(file), env=there) as near:
            yield near, far


async def rows(ares: AresProcess) -> list[int]:
    connection = await asyncpg.connect(ares.database)
    try:
        return [
            await connection.fetchval(f"SELECT count(*) FROM {table} WHERE service_name = 'teed'")
            for table in ("service_spans", "service_logs", "service_metrics")
        ]
    finally:
        await connection.close()


async def send(ares: AresProcess) -> None:
    messages = {
        "traces": trace_request("teed", 7),
        "logs": logs_request("teed", 5),
        "metrics": metrics_request("teed"),
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        for name, message in messages.items():
            answer = await client.post(
                f"{ares.otlp_http}/v1/{name}",
                content=message.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            assert answer.status_code == 200


async def test_a_second_ares_gets_a_copy_of_every_signal(pair: tuple[AresProcess, AresProcess]) -> None:
    near, far = pair
    await send(near)
    here = await rows(near)
    assert here[:2] == [7, 5]

    async def the_same() -> bool:
        assert await rows(far) == here
        return True

    await eventually(the_same)


async def test_a_destination_that_is_away_does_not_change_the_answer(pair: tuple[AresProcess, AresProcess]) -> None:
    near, far = pair
    far.stop()
    for _ in range(3):
        await send(near)
    assert (await rows(near))[:2] == [21, 15]
