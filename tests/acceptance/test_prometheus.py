"""Real Prometheuses, of Debian and a current one, scrape what Ares ingested, and PromQL there gives the values that are
in the tables here."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import PATH, counter, gauge, histogram
from tests.support.otlp_samples import metrics_request, number_point
from tests.support.prometheus import (
    BUILD_SECONDS,
    PROGRAM,
    Prometheus,
    current_or_skip,
    needs_prometheus,
    prometheus,
    running_prometheus,
)

pytestmark = [needs_prometheus, pytest.mark.timeout(BUILD_SECONDS + 180)]


@pytest.fixture(scope="module", params=[2, 3], ids=["Prometheus 2", "Prometheus 3"])
def scraping(ares: AresProcess, request: pytest.FixtureRequest) -> Iterator[Prometheus]:
    """Configured as docs/prometheus.md says."""
    target = ares.http.removeprefix("http://")
    job = {
        "job_name": "ares",
        "metrics_path": PATH,
        "honor_labels": True,
        "static_configs": [{"targets": [target]}],
    }
    if request.param == 2:
        with prometheus(job) as server:
            yield server
    else:
        with running_prometheus(current_or_skip(), {"scrape_configs": [job]}) as server:
            yield server


async def send(ares: AresProcess, request: object) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{ares.doors['otlp-http']}/v1/metrics",
            content=request.SerializeToString(),  # type: ignore[attr-defined]
            headers={"Content-Type": "application/x-protobuf"},
        )
    assert answer.status_code == 200, answer.text


async def test_a_prometheus_has_the_values_of_the_tables(
    ares: AresProcess, scraping: Prometheus, database: asyncpg.Connection
) -> None:
    attributes = {"service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}
    metrics = [counter("orders.placed", 42), gauge("cpu.utilization", 0.25, unit="1"), histogram()]
    await send(ares, metrics_request("orders", metrics, **attributes))

    async def scraped() -> bool:
        return await scraping.has('up{job="ares"} == 1') and await scraping.has("orders_placed_total")

    await eventually(scraped)
    whole = 'job="shop/orders",instance="pod-1"'
    stored = await database.fetchval("SELECT metric_value FROM service_metrics WHERE metric_name = 'orders.placed'")
    assert await scraping.value(f"orders_placed_total{{{whole}}}") == stored == 42
    assert await scraping.value(f"cpu_utilization_ratio{{{whole}}}") == 0.25
    name = "http_server_request_duration_seconds"
    row = await database.fetchrow("SELECT count, sum FROM service_metrics WHERE metric_name LIKE 'http.server.%'")
    assert row is not None
    assert await scraping.value(f"{name}_count{{{whole}}}") == row["count"]
    assert await scraping.value(f"{name}_sum{{{whole}}}") == row["sum"]
    assert await scraping.value(f'{name}_bucket{{{whole},le="+Inf"}}') == row["count"]
    assert await scraping.value(f"histogram_quantile(0.5, {name}_bucket{{{whole}}})") == pytest.approx(0.1)


async def test_target_info_joins_what_a_resource_says(ares: AresProcess, scraping: Prometheus) -> None:
    attributes = {"service.instance.id": "pod-7", "host.name": "lambda"}
    await send(ares, metrics_request("billing", [gauge("queue.size", 3)], **attributes))
    joined = "queue_size * on (job, instance) group_left (host_name) target_info"
    await eventually(lambda: scraping.has(joined))
    [(labels, value)] = (await scraping.query(joined)).items()
    assert value == 3
    assert json.loads(labels)["host_name"] == "lambda"


async def test_a_series_that_ends_is_stale_at_the_next_scrape(ares: AresProcess, scraping: Prometheus) -> None:
    await send(ares, metrics_request(metrics=[gauge("it.ends", 1)]))
    await eventually(lambda: scraping.has("it_ends"))
    ending = gauge("it.ends")
    ending.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1))
    await send(ares, metrics_request(metrics=[ending]))

    async def gone() -> bool:
        return not await scraping.has("it_ends")

    await eventually(gone)


async def test_promtool_finds_nothing_that_does_not_parse(ares: AresProcess) -> None:
    """It also advises on names, which are the sender's: that is its status 3."""
    assert PROGRAM is not None
    await send(ares, metrics_request())
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{ares.http}{PATH}")).content
    status, said = await asyncio.to_thread(_check, Path(PROGRAM).with_name("promtool"), text)
    assert status in (0, 3), said
    assert "error while linting" not in said


def _check(promtool: Path, text: bytes) -> tuple[int, str]:
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return done.returncode, done.stderr.decode()
