"""A real Prometheus federates from Ares, and PromQL there gives the values that are in the tables here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import counter, gauge, histogram
from tests.support.otlp_samples import metrics_request
from tests.support.prometheus import Prometheus, needs_prometheus, prometheus

pytestmark = needs_prometheus


@pytest.fixture(scope="module")
def federating(ares: AresProcess) -> Iterator[Prometheus]:
    """Configured as docs/prometheus-series.md says, with histograms, and with two series that no selector chooses."""
    job = {
        "job_name": "ares",
        "metrics_path": "/prometheus/federate",
        "honor_labels": True,
        "params": {"match[]": ['{job="shop/federated"}', '{__name__=~"up_.*"}']},
        "static_configs": [{"targets": [ares.http.removeprefix("http://")]}],
    }
    with prometheus(job) as server:
        yield server


async def test_a_prometheus_that_federates_has_the_values_of_the_tables(
    ares: AresProcess, federating: Prometheus, database: asyncpg.Connection
) -> None:
    attributes = {"service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}
    metrics = [counter("orders.federated", 42), gauge("cpu.utilization", 0.25, unit="1"), histogram()]
    request = metrics_request("federated", metrics, **attributes)
    async with httpx.AsyncClient(trust_env=False) as client:
        for body in (request, metrics_request("elsewhere", [gauge("not.chosen")])):
            answer = await client.post(
                f"{ares.doors['otlp-http']}/v1/metrics",
                content=body.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            assert answer.status_code == 200, answer.text
    await eventually(lambda: federating.has("orders_federated_total"))
    whole = 'job="shop/federated",instance="pod-1"'
    stored = await database.fetchval("SELECT metric_value FROM service_metrics WHERE metric_name = 'orders.federated'")
    assert await federating.value(f"orders_federated_total{{{whole}}}") == stored == 42
    assert await federating.value(f"cpu_utilization_ratio{{{whole}}}") == 0.25
    name = "http_server_request_duration_seconds"
    row = await database.fetchrow(
        "SELECT count, sum FROM service_metrics WHERE metric_name LIKE 'http.server.%' AND service_name = 'federated'"
    )
    assert row is not None
    assert await federating.value(f"{name}_count{{{whole}}}") == row["count"]
    assert await federating.value(f"{name}_sum{{{whole}}}") == row["sum"]
    assert await federating.value(f"histogram_quantile(0.5, {name}_bucket{{{whole}}})") == pytest.approx(0.1)
    joined = "cpu_utilization_ratio * on (job, instance) group_left (host_name) target_info"
    [(labels, value)] = (await federating.query(joined)).items()
    assert value == 0.25
    assert json.loads(labels)["host_name"] == "kappa"
    assert not await federating.has("not_chosen")
    times = await database.fetchval(
        "SELECT extract(epoch FROM date_trunc('milliseconds', \"timestamp\"))::float8 FROM service_metrics "
        "WHERE metric_name = 'orders.federated'"
    )
    assert await federating.value(f"timestamp(orders_federated_total{{{whole}}})") == pytest.approx(times, abs=1e-6)
