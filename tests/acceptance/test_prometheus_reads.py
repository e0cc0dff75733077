"""A real Prometheus reads from Ares what came by OTLP: PromQL there gives the values that SQL gives here.

Prometheus 2 takes answers of samples, Prometheus 3 streamed chunks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram, Metric

from tests.support.ares_process import AresProcess
from tests.support.ingested import counter, gauge, histogram
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, number_point
from tests.support.prometheus import BUILD_SECONDS, PROGRAM, Prometheus, current_or_skip, running_prometheus
from tests.support.remote_read import PATH

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
WHO = {"service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}
ORDERS = 'job="shop/orders",instance="pod-1"'
POINTS = 9
SECONDS_BETWEEN = 10


@pytest.fixture(scope="module", params=["samples", "chunks"])
def reading(ares: AresProcess, request: pytest.FixtureRequest) -> Iterator[Prometheus]:
    """Configured as docs/remote-read.md says; it scrapes nothing."""
    binary: Path | str = current_or_skip() if request.param == "chunks" else PROGRAM or ""
    if not binary:
        pytest.skip("Prometheus is not installed here (apt-get install --no-install-recommends prometheus)")
    config = {"remote_read": [{"url": f"{ares.http}{PATH}", "read_recent": True}], "scrape_configs": []}
    with running_prometheus(binary, config) as server:
        yield server


@pytest.fixture(scope="module")
def sent(ares: AresProcess) -> int:
    """Metrics of a minute and a half, the newest of now, whose time in seconds it gives."""
    now = time.time_ns() // 10**9
    with httpx.Client(trust_env=False) as client:
        for i in range(POINTS):
            at: dict[str, Any] = {"time_unix_nano": (now - SECONDS_BETWEEN * (POINTS - 1 - i)) * 10**9}
            metrics = [
                counter("orders.placed", 10 + 15 * i, **at),
                counter("orders.placed", 7, labels={"http.route": "/admin", "shop": "höhe"}, **at),
                gauge("cpu.utilization", i / 8, unit="1", **at),
                histogram(
                    count=6 * (i + 1), sum=0.9 * (i + 1), bucket_counts=[2 * i + 2, i + 1, 2 * i + 2, i + 1], **at
                ),
                exponential(i, **at),
            ]
            ending = gauge("it.ends", 1, **at)
            if i == POINTS - 1:
                ending.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1, **at))
            request = metrics_request("orders", [*metrics, ending], **WHO)
            answer = client.post(
                f"{ares.doors['otlp-http']}/v1/metrics",
                content=request.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            assert answer.status_code == 200, answer.text
    return now


def exponential(i: int, **at: Any) -> Metric:
    point = exponential_point(count=7 * (i + 1), sum=40.5 * (i + 1), zero_count=i + 1, **at)
    point.positive.bucket_counts[:] = [i + 1, 0, 3 * i + 3, 2 * i + 2]
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=CUMULATIVE)
    return Metric(name="mail.wait", unit="s", exponential_histogram=data)


@pytest.fixture
def ask(reading: Prometheus, sent: int) -> Any:
    """Asks for a value at the time of the newest points."""

    async def value(promql: str) -> float:
        [row] = (await reading.ask("query", query=promql, time=sent))["result"]
        return float(row["value"][1])

    return value


async def test_counters_gauges_and_histograms_have_the_values_of_the_tables(
    ask: Any, database: asyncpg.Connection
) -> None:
    newest = "SELECT metric_value FROM service_metrics WHERE metric_name = $1 AND labels @> $2 ORDER BY timestamp DESC"
    stored = await database.fetchval(newest, "orders.placed", '{"http.route": "/admin"}')
    assert await ask(f'orders_placed_total{{{ORDERS},http_route="/admin"}}') == stored == 7
    stored = await database.fetchval(newest, "cpu.utilization", "{}")
    assert await ask(f"cpu_utilization_ratio{{{ORDERS}}}") == stored == 1
    name = "http_server_request_duration_seconds"
    row = await database.fetchrow(
        "SELECT count, sum FROM service_metrics WHERE metric_name LIKE 'http.server.%' ORDER BY timestamp DESC LIMIT 1"
    )
    assert row is not None
    assert await ask(f"{name}_count{{{ORDERS}}}") == row["count"] == 54
    assert await ask(f"{name}_sum{{{ORDERS}}}") == row["sum"]
    assert await ask(f'{name}_bucket{{{ORDERS},le="+Inf"}}') == row["count"]


async def test_every_sample_of_the_time_is_there(reading: Prometheus, sent: int, database: asyncpg.Connection) -> None:
    promql = f'orders_placed_total{{{ORDERS},http_route=""}}[5m]'
    [series] = (await reading.ask("query", query=promql, time=sent))["result"]
    rows = await database.fetch(
        "SELECT extract(epoch FROM timestamp)::float8 AS at, metric_value FROM service_metrics"
        " WHERE metric_name = 'orders.placed' AND NOT labels ? 'http.route' ORDER BY timestamp"
    )
    assert [(at, float(value)) for at, value in series["values"]] == [(row["at"], row["metric_value"]) for row in rows]
    assert len(rows) == POINTS


async def test_functions_over_time_see_what_was_sent(ask: Any) -> None:
    assert await ask(f'rate(orders_placed_total{{{ORDERS},http_route=""}}[80s])') == pytest.approx(1.5)
    assert await ask(f"sum_over_time(cpu_utilization_ratio{{{ORDERS}}}[5m])") == sum(i / 8 for i in range(POINTS))
    quantile = "histogram_quantile(0.5, rate(http_server_request_duration_seconds_bucket[1m]))"
    assert await ask(quantile) == pytest.approx(0.1)


@pytest.mark.parametrize("reading", ["chunks"], indirect=True)
async def test_native_histograms_are_read(ask: Any) -> None:
    assert await ask(f"histogram_count(mail_wait_seconds{{{ORDERS}}})") == 7 * POINTS
    assert await ask(f"histogram_sum(mail_wait_seconds{{{ORDERS}}})") == pytest.approx(40.5 * POINTS)
    assert await ask(f"histogram_count(increase(mail_wait_seconds{{{ORDERS}}}[80s]))") == pytest.approx(56, rel=0.2)
    fraction = await ask(f"histogram_fraction(-1, 0.95, mail_wait_seconds{{{ORDERS}}})")
    assert fraction == pytest.approx(2 / 7, abs=0.05)


async def test_target_info_joins_what_a_resource_says(reading: Prometheus, sent: int) -> None:
    promql = "cpu_utilization_ratio * on (job, instance) group_left (host_name) target_info"
    [row] = (await reading.ask("query", query=promql, time=sent))["result"]
    assert (row["metric"]["host_name"], float(row["value"][1])) == ("kappa", 1)


async def test_a_series_that_ended_has_no_value_any_more(reading: Prometheus, sent: int) -> None:
    before, now = sent - SECONDS_BETWEEN, sent
    assert (await reading.ask("query", query="it_ends", time=now))["result"] == []
    [row] = (await reading.ask("query", query="it_ends", time=before))["result"]
    assert float(row["value"][1]) == 1


@pytest.mark.parametrize(
    ("matchers", "routes"),
    [
        ('shop="höhe"', ["/admin"]),
        ('http_route=~"/a.*"', ["/admin"]),
        ('http_route=~"a.*"', []),
        ('http_route!~"/a.*"', [""]),
        ('http_route!=""', ["/admin"]),
        ('http_route=~"|/admin"', ["", "/admin"]),
        ('nothing="there"', []),
        ('job=~".*orders", instance!~"pod-[2-9]"', ["", "/admin"]),
    ],
)
async def test_matchers_choose_the_same_series_there_as_they_would_of_its_own(
    reading: Prometheus, sent: int, matchers: str, routes: list[str]
) -> None:
    found = (await reading.ask("query", query=f"orders_placed_total{{{matchers}}}", time=sent))["result"]
    assert sorted(row["metric"].get("http_route", "") for row in found) == routes


async def test_the_series_api_lists_what_is_stored_here(reading: Prometheus, sent: int) -> None:
    window = {"start": sent - 300, "end": sent + 1}
    found = await reading.ask("series", match_='{__name__=~"orders.*|cpu.*"}', **window)
    assert sorted(series["__name__"] for series in found) == ["cpu_utilization_ratio", *["orders_placed_total"] * 2]
    assert await reading.ask("series", match_="orders_placed_total", start=sent - 7200, end=sent - 3600) == []


async def test_an_error_of_ares_is_told_to_who_asks(reading: Prometheus, sent: int) -> None:
    """As a warning: its own storage did answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        params = {"query": '{__name__=~"' + "x" * 5000 + '"}'}
        answer = await client.post(f"{reading.url}/api/v1/query", data=params)
    assert "a regular expression has 4096 characters at most" in answer.text
