"""A current Prometheus, unchanged, scrapes Ares: names in UTF-8 and exemplars in OpenMetrics, native histograms in
protobuf."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram, Metric

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import PATH, counter, histogram, post
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, pairs
from tests.support.prometheus import BUILD_SECONDS, Prometheus, current_or_skip, running_prometheus

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 180)


@pytest.fixture(scope="module")
def scraping(ares: AresProcess) -> Iterator[Prometheus]:
    """It takes names as OTLP has them, in OpenMetrics, and keeps exemplars."""
    job = {
        "job_name": "ares",
        "metrics_path": PATH,
        "honor_labels": True,
        "params": {"translation_strategy": ["NoUTF8EscapingWithSuffixes"]},
        "scrape_protocols": ["OpenMetricsText1.0.0"],
        "static_configs": [{"targets": [ares.http.removeprefix("http://")]}],
    }
    arguments = ["--enable-feature=exemplar-storage"]
    with running_prometheus(current_or_skip(), {"scrape_configs": [job]}, arguments) as server:
        yield server


async def test_names_of_otlp_come_through_a_scrape_unchanged(
    ares: AresProcess, scraping: Prometheus, database: asyncpg.Connection
) -> None:
    request = metrics_request("orders", [counter("orders.placed", 42), histogram()], **{"host.name": "kappa"})
    await post(ares.otlp_http, request)
    await eventually(lambda: scraping.has('{"orders.placed_total"}'))

    stored = await database.fetchval("SELECT metric_value FROM service_metrics WHERE metric_name = 'orders.placed'")
    assert await scraping.value('{"orders.placed_total", job="orders"}') == stored == 42
    row = await database.fetchrow("SELECT count, sum FROM service_metrics WHERE metric_name LIKE 'http.server.%'")
    assert row is not None
    labels = 'job="orders", "http.route"="/orders"'
    assert await scraping.value(f'{{"http.server.request.duration_seconds_count", {labels}}}') == row["count"]
    assert await scraping.value(f'{{"http.server.request.duration_seconds_sum", {labels}}}') == row["sum"]
    assert await scraping.value('target_info{"host.name"="kappa"}') == 1


@pytest.fixture(scope="module")
def protobuf(ares: AresProcess) -> Iterator[Prometheus]:
    """It takes native histograms, which only protobuf carries, in names as it would give them."""
    job = {
        "job_name": "ares",
        "metrics_path": PATH,
        "honor_labels": True,
        "scrape_native_histograms": True,
        "static_configs": [{"targets": [ares.http.removeprefix("http://")]}],
    }
    with running_prometheus(current_or_skip(), {"scrape_configs": [job]}) as server:
        yield server


async def test_exponential_histograms_come_as_native_ones(ares: AresProcess, protobuf: Prometheus) -> None:
    histogram = ExponentialHistogram(
        data_points=[exponential_point(attributes=pairs({"queue": "mail"}))], aggregation_temporality=CUMULATIVE
    )
    await post(
        ares.otlp_http, metrics_request("post", [Metric(name="wait", unit="s", exponential_histogram=histogram)])
    )
    await eventually(lambda: protobuf.has("wait_seconds"))
    point = histogram.data_points[0]
    assert await protobuf.value('histogram_count(wait_seconds{queue="mail"})') == point.count
    assert await protobuf.value("histogram_sum(wait_seconds)") == point.sum
    [row] = await protobuf.series("wait_seconds")
    told = row["histogram"][1]["buckets"]
    counts = [float(bucket[3]) for bucket in told]
    assert counts == [point.zero_count, *(count for count in point.positive.bucket_counts if count)]
    base = 2**2**-point.scale
    first = base**point.positive.offset
    assert [float(bound) for bound in told[1][1:3]] == pytest.approx([first, first * base])


async def test_exemplars_come_with_a_scrape(ares: AresProcess, scraping: Prometheus) -> None:
    made = histogram("kitchen.wait")
    trace_id = made.histogram.data_points[0].exemplars[0].trace_id.hex()
    await post(ares.otlp_http, metrics_request("kitchen", [made]))

    async def exemplars() -> list[str]:
        found = await scraping.ask(
            "query_exemplars",
            query='{"kitchen.wait_seconds_bucket"}',
            start="2000-01-01T00:00:00Z",
            end="2100-01-01T00:00:00Z",
        )
        return [one["labels"]["trace_id"] for series in found for one in series["exemplars"]]

    assert trace_id in await eventually(exemplars)
