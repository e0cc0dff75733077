"""A current Prometheus, unchanged, scrapes Ares under UTF-8 names."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import PATH, counter, histogram, post
from tests.support.otlp_samples import metrics_request
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
