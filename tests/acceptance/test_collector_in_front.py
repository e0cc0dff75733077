"""The official Collector in front of the real command: what goes in at the Collector is rows at the end."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import asyncpg
import httpx
import pytest

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from tests.support import collector, parts
from tests.support.ares_process import AresProcess
from tests.support.encoders import left_to_the_reference
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(collector.BUILD_SECONDS + 120)


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return collector.install()
    except collector.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["agent", "gateway"])
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_spans_logs_and_points_sent_to_the_collector_are_rows(
    recipe: str, binary: Path, ares: AresProcess, database: asyncpg.Connection, tmp_path: Path
) -> None:
    service, now = f"behind-{uuid.uuid4().hex[:12]}", time.time_ns()
    resource = {"service__name": service}
    trace_id = uuid.uuid4().bytes
    times = {"start_time_unix_nano": now, "end_time_unix_nano": now + 5_000_000}
    spans = [{"name": "work", "trace_id": trace_id, "span_id": bytes([n]) * 8, **times} for n in range(1, 4)]
    points = parts.metrics({"as_int": 7, "time_unix_nano": now}, name="work.done")
    points.resource_metrics[0].resource.attributes[0].value.string_value = service
    bodies: dict[Signal, bytes] = {
        TRACES: parts.traces(*spans, resource=resource).SerializeToString(),
        LOGS: parts.logs(
            {"body": "done", "time_unix_nano": now, "trace_id": trace_id}, resource=resource
        ).SerializeToString(),
        METRICS: points.SerializeToString(),
    }
    endpoint = ares.otlp_grpc.removeprefix("http://") if recipe == "agent" else ares.otlp_http
    env = {"ARES_OTEL_ENDPOINT": endpoint, "OTELCOL_STORAGE": str(tmp_path)}
    with collector.running_collector(binary, recipe, env) as front:
        async with httpx.AsyncClient(base_url=front.http, trust_env=False, timeout=30) as client:
            for signal, body in bodies.items():
                headers = {"content-type": "application/x-protobuf"}
                answer = await client.post(signal.http_path, content=body, headers=headers)
                assert answer.status_code == 200, answer.text

        async def counts() -> bool:
            found = [
                await database.fetchval(f"SELECT count(*) FROM {table} WHERE service_name = $1", service)
                for table in ("v_spans", "v_logs", "service_metrics")
            ]
            assert found == [3, 1, 1]
            return True

        await eventually(counts)
    async with httpx.AsyncClient() as client:
        metrics = await client.get(f"{ares.http}/metrics")
    assert left_to_the_reference(metrics.text) == {}
