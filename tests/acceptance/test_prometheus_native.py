"""A real Prometheus that takes native histograms scrapes exponential ones, and PromQL there gives what they hold."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
)

from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.exposition_messages import PROTOBUF, families_of, is_native
from tests.support.ingested import PATH, counter, histogram
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, pairs
from tests.support.prometheus import Prometheus, needs_prometheus, prometheus

pytestmark = needs_prometheus
Buckets = ExponentialHistogramDataPoint.Buckets


@pytest.fixture(scope="module")
def scraping(ares: AresProcess) -> Iterator[Prometheus]:
    job = {
        "job_name": "ares",
        "metrics_path": PATH,
        "honor_labels": True,
        "static_configs": [{"targets": [ares.http.removeprefix("http://")]}],
    }
    with prometheus(job, ["native-histograms"]) as server:
        yield server


def exponential(name: str, *points: ExponentialHistogramDataPoint) -> Metric:
    return Metric(
        name=name,
        unit="s",
        exponential_histogram=ExponentialHistogram(data_points=points, aggregation_temporality=CUMULATIVE),
    )


async def test_quantiles_of_an_exponential_histogram_are_those_of_its_buckets(
    ares: AresProcess, scraping: Prometheus
) -> None:
    """Points of three scales: one that stays, one that is merged down, one as coarse as can be. The quantiles are upper
    bounds of buckets, where all ways to interpolate agree."""

    def point(scale: int, offset: int, counts: list[int], **fields: object) -> ExponentialHistogramDataPoint:
        return exponential_point(
            scale=scale,
            count=sum(counts),
            zero_count=0,
            positive=Buckets(offset=offset, bucket_counts=counts),
            attributes=pairs({"scale": str(scale)}),
            **fields,
        )

    points = [
        point(1, 2, [1, 2, 0, 0, 0, 0, 1], sum=40.5),
        point(10, 1024, [1, 1, 1, 1, 4], sum=8),  # buckets of four become one
        point(-4, -1, [3, 1], sum=2.5),
    ]
    metrics = [exponential("call.duration", *points), counter("calls", 9), histogram("classic.duration")]
    await send(ares, metrics_request("natives", metrics))
    await eventually(lambda: scraping.has('histogram_count(call_duration_seconds{job="natives"})'))

    async def value(function: str, scale: int) -> float:
        series = f'call_duration_seconds{{job="natives",scale="{scale}"}}'
        return await scraping.value(function.replace("$", series))

    assert [await value("histogram_count($)", scale) for scale in (1, 10, -4)] == [4, 8, 4]
    assert [await value("histogram_sum($)", scale) for scale in (1, 10, -4)] == [40.5, 8, 2.5]
    assert await value("histogram_quantile(0.25, $)", 1) == pytest.approx(2 ** (3 / 2))
    assert await value("histogram_quantile(0.75, $)", 1) == pytest.approx(2 ** (4 / 2))
    assert await value("histogram_quantile(1, $)", 1) == pytest.approx(2 ** (9 / 2))
    assert await value("histogram_quantile(0.5, $)", 10) == pytest.approx(2 ** (257 / 256))
    assert await value("histogram_quantile(1, $)", 10) == pytest.approx(2 ** (258 / 256))
    assert await value("histogram_quantile(0.75, $)", -4) == pytest.approx(1)
    assert await value("histogram_quantile(1, $)", -4) == pytest.approx(2**16)
    assert await scraping.value('calls_total{job="natives"}') == 9
    assert await scraping.value('classic_duration_seconds_count{job="natives"}') == 6
    le = 'classic_duration_seconds_bucket{job="natives",le="+Inf"}'
    assert await scraping.value(le) == 6


async def test_a_histogram_that_a_prometheus_would_refuse_does_not_cost_the_scrape(
    ares: AresProcess, scraping: Prometheus
) -> None:
    coarse = exponential("too.coarse", exponential_point(scale=-7))
    await send(ares, metrics_request("mistaken", [coarse, counter("still.there", 5)]))
    await eventually(lambda: scraping.has("still_there_total"))
    assert await scraping.value('up{job="ares"}') == 1
    assert await scraping.value('ares_otel_exposition_left_out_series{reason="untranslatable"}') == 1


async def test_a_family_of_both_kinds_of_histograms_does_not_mix_them_up(
    ares: AresProcess, scraping: Prometheus
) -> None:
    """A native one of a family that begins with a classic one is at least its count and sum, also for an old server."""
    await send(ares, metrics_request("native", [exponential("mixed.duration", exponential_point())]))
    await send(ares, metrics_request("classic", [histogram("mixed.duration")]))
    await eventually(lambda: scraping.has('mixed_duration_seconds_bucket{job="classic"}'))
    le = 'mixed_duration_seconds_bucket{job="classic",le="0.1"}'
    assert await scraping.value(le) == 3
    assert await scraping.value('mixed_duration_seconds_count{job="classic"}') == 6
    native = 'mixed_duration_seconds_count{job="native"} or histogram_count(mixed_duration_seconds{job="native"})'
    await eventually(lambda: scraping.has(native))
    assert await scraping.value(native) == 7


async def test_what_prometheus_asks_for_is_answered_in_protobuf(ares: AresProcess) -> None:
    await send(ares, metrics_request("asked", [exponential("asked", exponential_point())]))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{ares.http}{PATH}", headers={"Accept": f"{PROTOBUF},text/plain;q=0.5"})
    assert answer.headers["content-type"] == f"{PROTOBUF}; escaping=underscores"
    assert is_native(families_of(answer.content)["asked_seconds"].metric[0].histogram)


async def send(ares: AresProcess, request: object) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{ares.doors['otlp-http']}/v1/metrics",
            content=request.SerializeToString(),  # type: ignore[attr-defined]
            headers={"Content-Type": "application/x-protobuf"},
        )
    assert answer.status_code == 200, answer.text
