"""A real Prometheus reads from Ares what came by OTLP: PromQL there gives the values that SQL gives here.

Prometheus 2 takes answers of samples, Prometheus 3 streamed chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess
from tests.support.ingested import ago, counter, gauge, histogram
from tests.support.otlp_samples import metrics_request, number_point
from tests.support.prometheus import (
    BUILD_SECONDS,
    PROGRAM,
    Prometheus,
    current_or_skip,
    needs_prometheus,
    running_prometheus,
)
from tests.support.remote_read import CHUNKS, PATH, SAMPLES, query, read

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
WHO = {"service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}


@pytest.fixture(scope="module", params=["samples", "chunks"])
def reading(ares: AresProcess, request: pytest.FixtureRequest) -> Iterator[Prometheus]:
    """Configured as docs/remote-read.md says."""
    if request.param == "samples":
        if PROGRAM is None:
            pytest.skip("Prometheus is not installed here (apt-get install --no-install-recommends prometheus)")
        binary: Any = PROGRAM
    else:
        binary = current_or_skip()
    config = {"remote_read": [{"url": f"{ares.http}{PATH}", "read_recent": True}], "scrape_configs": []}
    with running_prometheus(binary, config) as server:
        yield server


async def send(ares: AresProcess, *requests: Any) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for request in requests:
            answer = await client.post(
                f"{ares.doors['otlp-http']}/v1/metrics",
                content=request.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            assert answer.status_code == 200, answer.text


async def test_promql_has_the_values_of_the_tables(
    ares: AresProcess, reading: Prometheus, database: asyncpg.Connection
) -> None:
    for i in range(9):
        metrics = [
            counter("orders.placed", 10 + 15 * i, **ago(100 - 10 * i)),
            gauge("cpu.utilization", i / 8, unit="1", **ago(100 - 10 * i)),
            histogram(**ago(100 - 10 * i)),
        ]
        await send(ares, metrics_request("orders", metrics, **WHO))
    whole = 'job="shop/orders",instance="pod-1"'
    newest = "SELECT metric_value FROM service_metrics WHERE metric_name = $1 ORDER BY timestamp DESC LIMIT 1"
    assert await reading.value(f"orders_placed_total{{{whole}}}") == await database.fetchval(newest, "orders.placed")
    assert await reading.value(f"cpu_utilization_ratio{{{whole}}}") == await database.fetchval(newest, "cpu.utilization")
    assert await reading.value(f"max_over_time(cpu_utilization_ratio{{{whole}}}[5m])") == 1
    print(await reading.ask("query", query=f"orders_placed_total{{{whole}}}[5m]"))
