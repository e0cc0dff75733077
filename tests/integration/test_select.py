"""`select`: the samples of stored series as Prometheus has them, whatever they came as."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    ScopeMetrics,
    Sum,
    Summary,
)

from ares_otel.model.prometheus.native_from_otlp import from_exponential
from ares_otel.model.prometheus.native_histogram import is_stale_bits
from ares_otel.model.prometheus.verbatim import METADATA_TYPE, SCOPE_NAME, resource_of
from ares_otel.query.prometheus.columns import TooManySamples
from ares_otel.query.prometheus.select import TooManySeries
from ares_otel.query.prometheus.target_info import STEP_MS
from ares_otel.storage.store import Store
from tests.support.ingested import counter, gauge, histogram, send
from tests.support.otlp_samples import (
    CUMULATIVE,
    DELTA,
    exponential_point,
    histogram_point,
    metrics_request,
    number_point,
    pairs,
    summary_point,
)
from tests.support.rollups import run_once
from tests.support.selected import HOUR_MS, chosen, named, now_ms, samples


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=3) as made:
        yield made


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


def at(ms: int) -> dict[str, Any]:
    return {"time_unix_nano": ms * 1_000_000}


def verbatim(job: str, instance: str, *metrics: Metric) -> ExportMetricsServiceRequest:
    """What a remote write or a scrape is stored as."""
    request = ExportMetricsServiceRequest()
    envelope = request.resource_metrics.add()
    envelope.resource.attributes.extend(pairs(resource_of(job, instance)))
    envelope.scope_metrics.append(ScopeMetrics(scope=InstrumentationScope(name=SCOPE_NAME), metrics=metrics))
    return request


async def test_every_type_is_the_series_that_prometheus_has(pool: asyncpg.Pool, store: Store) -> None:
    """Statements 22 and 24 of the contract."""
    await send(store, metrics_request())
    found = await chosen(pool, '{job="shop",__name__!~"target_info|mail_wait_milliseconds"}')
    route, name = 'http_route="/orders",job="shop"', "http_server_request_duration_seconds"
    assert named(found) == {
        'batch_duration_seconds{job="shop",quantile="0.5"}': [2],
        'batch_duration_seconds{job="shop",quantile="0.99"}': [7.5],
        'batch_duration_seconds_count{job="shop"}': [10],
        'batch_duration_seconds_sum{job="shop"}': [25],
        f'{name}_bucket{{{route},le="+Inf"}}': [6],
        f'{name}_bucket{{{route},le="0.05"}}': [2],
        f'{name}_bucket{{{route},le="0.1"}}': [3],
        f'{name}_bucket{{{route},le="0.25"}}': [5],
        f"{name}_count{{{route}}}": [6],
        f"{name}_sum{{{route}}}": [0.9],
        'http_server_requests_total{http_request_method="GET",http_route="/orders",job="shop"}': [12],
        'http_server_requests_total{http_route="/health",job="shop"}': [3],
        'process_memory_usage_bytes{http_request_method="GET",http_route="/orders",job="shop"}': [52_428_800],
    }
    kinds = {dict(labels)["__name__"]: kind for labels, kind in zip(found.labels, found.kinds, strict=True)}
    assert kinds[f"{name}_bucket"] == kinds[f"{name}_sum"] == "histogram"
    assert kinds["http_server_requests_total"] == "counter"
    assert kinds["batch_duration_seconds"] == "summary"
    assert kinds["process_memory_usage_bytes"] == "gauge"
    assert list(found.labels) == sorted(found.labels)


async def test_times_are_milliseconds_rounded_down_and_both_ends_are_inside(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 20 of the contract."""
    now = now_ms() - 10_000
    points = [gauge(value=number, time_unix_nano=(now + number) * 1_000_000 + 999_999) for number in range(4)]
    await send(store, metrics_request(metrics=points))
    found = await chosen(pool, "queue_length", start_ms=now + 1, end_ms=now + 2)
    assert samples(found) == [(now + 1, 1), (now + 2, 2)]


async def test_le_and_quantile_are_asked_for_like_labels(pool: asyncpg.Pool, store: Store) -> None:
    await send(store, metrics_request())
    name = "http_server_request_duration_seconds"

    async def values(selector: str, label: str) -> list[str]:
        return sorted(dict(labels).get(label, "") for labels in (await chosen(pool, selector)).labels)

    assert await values(f'{name}_bucket{{le="0.1"}}', "le") == ["0.1"]
    assert await values(f'{name}_bucket{{le=~"0.1|[+]Inf"}}', "le") == ["+Inf", "0.1"]
    assert await values(f'{name}_bucket{{le!="0.1",le!~"0.2.*"}}', "le") == ["+Inf", "0.05"]
    assert await values(f'{name}_bucket{{le=""}}', "le") == []
    assert await values(f'{name}_count{{le=""}}', "le") == [""]
    assert await values('batch_duration_seconds{quantile="0.99"}', "quantile") == ["0.99"]
    assert await values('{le="0.05"}', "le") == ["0.05"]
    assert await values('{__name__=~"batch_duration_seconds(_sum)?",quantile!="0.5"}', "quantile") == ["", "0.99"]


async def test_of_several_selectors_one_is_enough_and_each_series_is_there_once(
    pool: asyncpg.Pool, store: Store
) -> None:
    await send(store, metrics_request())
    name = "http_server_request_duration_seconds_bucket"
    both = await chosen(pool, f'{name}{{le="0.1"}}', f'{name}{{le=~"0.1|0.05"}}', '{__name__=~"batch.*_sum"}')
    assert [dict(labels).get("le") for labels in both.labels] == [None, "0.05", "0.1"]
    assert [len(samples(both, number)) for number in range(3)] == [1, 1, 1]


async def test_bounds_that_change_begin_other_series(pool: asyncpg.Pool, store: Store) -> None:
    now = now_ms()
    first = histogram("wait", "", **at(now - 2000), explicit_bounds=[1, 2], bucket_counts=[1, 1, 1], count=3)
    second = histogram("wait", "", **at(now - 1000), explicit_bounds=[2, 5], bucket_counts=[3, 1, 0], count=4)
    await send(store, metrics_request(metrics=[first, second]))
    found = {dict(labels)["le"]: samples(await chosen(pool, f'wait_bucket{{le="{dict(labels)["le"]}"}}'))
             for labels in (await chosen(pool, "wait_bucket")).labels}  # fmt: skip
    assert found == {
        "1": [(now - 2000, 1)],
        "2": [(now - 2000, 2), (now - 1000, 3)],
        "5": [(now - 1000, 4)],
        "+Inf": [(now - 2000, 3), (now - 1000, 4)],
    }


async def test_histograms_without_buckets_or_a_sum_and_with_large_counts_are_told(
    pool: asyncpg.Pool, store: Store
) -> None:
    now = now_ms()
    odd = [
        histogram("odd", "", **at(now - 3000), explicit_bounds=[], bucket_counts=[], count=9),
        histogram("odd", "", **at(now - 2000), explicit_bounds=[1], bucket_counts=[2**63, 2**40], count=2**63 + 2**40),
    ]
    odd[1].histogram.data_points[0].ClearField("sum")
    await send(store, metrics_request(metrics=odd))
    values = named(await chosen(pool, '{__name__=~"odd_.*"}'))
    labels = 'http_route="/orders",job="shop"'
    assert values == {
        f'odd_bucket{{{labels},le="1"}}': [float(2**63)],
        f'odd_bucket{{{labels},le="+Inf"}}': [9, float(2**63 + 2**40)],
        f"odd_sum{{{labels}}}": [0.9],
        f"odd_count{{{labels}}}": [9, float(2**63 + 2**40)],
    }


async def test_exponential_histograms_are_native_ones(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 23 of the contract."""
    now = now_ms()
    points = [
        exponential_point(**at(now - 2000)),
        exponential_point(**at(now - 1000), flags=1),
        exponential_point(**at(now)),
    ]
    points[2].scale = -7  # too coarse for Prometheus: this point alone is left out
    data = ExponentialHistogram(data_points=points, aggregation_temporality=CUMULATIVE)
    await send(store, metrics_request(metrics=[Metric(name="wait", unit="s", exponential_histogram=data)]))
    found = await chosen(pool, "wait_seconds", end_ms=now + 10)
    assert found.kinds == ["histogram"]
    assert found.timestamps.tolist() == [now - 2000, now - 1000]
    assert found.histograms[0][0] == from_exponential(points[0])
    assert is_stale_bits(found.histograms[0][1].sum)
    assert np.isnan(found.values[0])
    assert not is_stale_bits(found.values[0])
    assert is_stale_bits(found.values[1])
    newest = await chosen(pool, "wait_seconds", end_ms=now - 1500, newest_only=True)
    assert newest.histograms[0] == [from_exponential(points[0])]


async def test_a_series_ends_bit_for_bit_with_each_of_its_parts(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 20 of the contract."""
    now = now_ms()
    await send(store, metrics_request(metrics=[gauge(**at(now - 2000)), histogram("wait", "", **at(now - 2000))]))
    ended, gone = gauge(), histogram("wait", "")
    ended.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1, **at(now - 1000)))
    gone.histogram.data_points[0].CopyFrom(
        histogram_point(flags=1, count=0, bucket_counts=[], explicit_bounds=[], **at(now - 1000))
    )
    gone.histogram.data_points[0].ClearField("sum")
    await send(store, metrics_request(metrics=[ended, gone]))
    found = await chosen(pool, '{__name__=~"queue_length|wait_.*"}')
    assert len(found.labels) == 7
    for number in range(len(found.labels)):
        (first, value), (last, end) = samples(found, number)
        assert (first, last) == (now - 2000, now - 1000)
        assert not is_stale_bits(value)
        assert is_stale_bits(end)


async def test_stored_series_with_the_same_labels_are_one_and_the_older_counts(
    pool: asyncpg.Pool, store: Store
) -> None:
    now = now_ms()
    first, second = (
        [gauge(value=value, **at(now + ms)) for ms, value in ((-5000, 1), (-3000, 3), (-1000, 5))],
        [gauge(value=value, **at(now + ms)) for ms, value in ((-4000, 20), (-3000, 30), (-500, 60))],
    )
    await send(store, metrics_request("orders", first, **{"process.pid": 1}))
    assert (await chosen(pool, "queue_length")).labels
    await send(store, metrics_request("orders", second, **{"process.pid": 2}))
    found = await chosen(pool, "queue_length")
    assert len(found.labels) == 1
    assert samples(found) == [(now - 5000, 1), (now - 4000, 20), (now - 3000, 3), (now - 1000, 5), (now - 500, 60)]
    newest = await chosen(pool, "queue_length", newest_only=True)
    assert samples(newest) == [(now - 500, 60)]


async def test_target_info_lives_as_long_as_the_series_of_its_resource(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 17 of the contract."""
    now = now_ms()
    first, last = now - 1_000_000, now - 1_000
    points = [gauge(**at(first)), gauge(**at(now - 400_000)), histogram(**at(last))]
    attributes = {"service.instance.id": "pod-1", "host.name": "kappa"}
    await send(store, metrics_request("orders", points, **attributes))
    await send(store, metrics_request("silent", [gauge(**at(now - 2 * HOUR_MS))], **{"host.name": "b"}))
    await send(store, metrics_request("nobody", [gauge()]))
    found = await chosen(pool, '{__name__="target_info",host_name=~".+"}')
    [labels] = [dict(pairs) for pairs in found.labels]
    assert (labels["job"], labels["instance"], labels["host_name"]) == ("orders", "pod-1", "kappa")
    assert not any(name.startswith(("otel_scope", "service_")) for name in labels if name != "service_version")
    times = found.timestamps.tolist()
    assert (times[0], times[-1]) == (first, last)
    assert set(found.values.tolist()) == {1.0}
    assert all(0 < after - before <= STEP_MS for before, after in pairwise(times))
    assert all(time % STEP_MS == 0 for time in times[1:-1])
    part = await chosen(pool, '{__name__="target_info",host_name="kappa"}', start_ms=first + 1)
    assert set(part.timestamps[1:].tolist()) <= set(times)
    newest = await chosen(pool, "target_info", newest_only=True)
    assert last in newest.timestamps.tolist()


async def test_what_came_from_a_prometheus_is_as_it_was(pool: asyncpg.Pool, store: Store) -> None:
    labels = {"job": "node", "instance": "n:9100", "le": "0.5", "größe": "x", "code": ""}
    bucket = Metric(name="wait_bucket", gauge=Gauge(data_points=[number_point(3, attributes=pairs(labels))]))
    bucket.metadata.extend(pairs({METADATA_TYPE: "histogram"}))
    info = Metric(name="target_info", gauge=Gauge(data_points=[number_point(1, attributes=pairs({"job": "node"}))]))
    quantile = Metric(name="lag", summary=Summary(data_points=[summary_point(attributes=pairs({"job": "node"}))]))
    await send(store, verbatim("node", "n:9100", bucket, info, quantile))
    found = await chosen(pool, '{job="node"}')
    [wait] = [dict(pairs) for pairs in found.labels if dict(pairs)["__name__"] == "wait_bucket"]
    assert wait == {"__name__": "wait_bucket", "größe": "x", "instance": "n:9100", "job": "node", "le": "0.5"}
    assert not any("otel_scope_name" in dict(pairs) for pairs in found.labels)
    by_name = {dict(pairs)["__name__"] for pairs in found.labels}
    assert by_name == {"wait_bucket", "target_info", "lag", "lag_sum", "lag_count"}
    assert len((await chosen(pool, "target_info")).labels) == 1
    assert len((await chosen(pool, 'wait_bucket{le="0.5"}')).labels) == 1
    assert (await chosen(pool, "wait_bucket")).kinds == ["histogram"]


async def test_bounds_of_a_page_are_written_as_in_prometheus(pool: asyncpg.Pool, store: Store) -> None:
    labels = {"job": "node", "instance": "n:9100"}
    wait = histogram("wait", "", attributes=pairs(labels), explicit_bounds=[0.5, 1, 1e6], bucket_counts=[1, 2, 2, 1])
    point = summary_point(attributes=pairs(labels))
    del point.quantile_values[:]
    point.quantile_values.add(quantile=0.5, value=1)
    point.quantile_values.add(quantile=1, value=2)
    await send(store, verbatim("node", "n:9100", wait, Metric(name="lag", summary=Summary(data_points=[point]))))
    found = await chosen(pool, '{job="node"}')
    assert [dict(one)["le"] for one in found.labels if "le" in dict(one)] == ["+Inf", "0.5", "1.0", "1e+06"]
    assert [dict(one)["quantile"] for one in found.labels if "quantile" in dict(one)] == ["0.5", "1.0"]
    assert len((await chosen(pool, 'wait_bucket{le="1.0"}')).labels) == 1


@pytest.mark.parametrize("newest_only", [False, True])
async def test_what_is_filed_under_the_time_at_which_it_came_is_no_sample(
    pool: asyncpg.Pool, store: Store, newest_only: bool
) -> None:
    """A value of 1980 would stand in a diagram of today, and before newer ones: where no partition has the time of a
    point, it is in SQL alone."""
    moment = now_ms() - 20_000
    long_ago = at(315_532_800_000)
    for time, value in ((at(moment), 1), (long_ago, 2)):
        metrics = [counter("c", value, **time), histogram("h", "", **time), exponential("e", **time)]
        await send(store, metrics_request(metrics=metrics))
    await send(store, metrics_request("backfill", [gauge("old", 3, **long_ago), histogram("older", "", **long_ago)]))
    assert samples(await chosen(pool, "c_total", newest_only=newest_only)) == [(moment, 1)]
    for name in ("h_count", "e"):
        assert set((await chosen(pool, name, newest_only=newest_only)).timestamps.tolist()) == {moment}
    assert (await chosen(pool, '{job="backfill"}', newest_only=newest_only)).labels == []


async def test_only_the_newest_sample_of_each_series_on_demand(pool: asyncpg.Pool, store: Store) -> None:
    now = now_ms()
    for ms in (5000, 3000):
        metrics = [counter("c", ms, **at(now - ms)), histogram("h", "", **at(now - ms))]
        await send(store, metrics_request(metrics=metrics))
    found = await chosen(pool, '{__name__=~"c_total|h_.*|target_info"}', newest_only=True)
    assert set(found.timestamps.tolist()) == {now - 3000}
    assert len(found.timestamps) == len(found.labels)
    assert samples(await chosen(pool, "h_count", newest_only=True)) == [(now - 3000, 6)]


async def test_ares_s_own_series_can_be_chosen(pool: asyncpg.Pool, store: Store) -> None:
    await send(store, metrics_request("ares-api", [gauge("own")]))
    assert len((await chosen(pool, 'own{job="ares-api"}')).labels) == 1


async def test_more_than_is_asked_for_is_an_error_that_says_what_to_do(pool: asyncpg.Pool, store: Store) -> None:
    points = [gauge("many", labels={"n": str(number)}) for number in range(5)]
    await send(store, metrics_request(metrics=[*points, histogram(), exponential("e")]))
    assert len((await chosen(pool, "many", max_series=5, max_samples=5)).labels) == 5
    with pytest.raises(TooManySeries, match="choose fewer"):
        await chosen(pool, "many", max_series=4)
    with pytest.raises(TooManySamples, match="fewer series"):
        await chosen(pool, "many", max_samples=4)
    name = "http_server_request_duration_seconds"
    assert len((await chosen(pool, f"{name}_bucket", max_samples=4)).labels) == 4
    with pytest.raises(TooManySamples):
        await chosen(pool, f"{name}_bucket", max_samples=3)
    with pytest.raises(TooManySamples):
        await chosen(pool, "target_info", max_samples=0)
    with pytest.raises(TooManySamples):
        await chosen(pool, "e", max_samples=0)


async def test_many_points_of_histograms_are_read_in_pieces(
    pool: asyncpg.Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = now_ms()
    metrics = []
    for series in range(3):
        for number in range(10):
            point = {**at(now - 1000 * (10 - number)), "sum": number, "attributes": pairs({"s": str(series)})}
            metrics.append(histogram("h", "", **point))
    await send(store, metrics_request(metrics=metrics))
    whole = await chosen(pool, '{__name__=~"h_.*"}')
    monkeypatch.setattr("ares_otel.query.prometheus.samples.POINTS_AT_ONCE", 4)
    pieces = await chosen(pool, '{__name__=~"h_.*"}')
    assert whole.labels == pieces.labels
    assert whole.timestamps.tolist() == pieces.timestamps.tolist()
    assert whole.values.tolist() == pieces.values.tolist()
    assert len(samples(whole)) == 10


def exponential(name: str, **point: Any) -> Metric:
    data = ExponentialHistogram(data_points=[exponential_point(**point)], aggregation_temporality=CUMULATIVE)
    return Metric(name=name, exponential_histogram=data)


async def test_counters_that_came_as_deltas_are_added_up(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 21 of the contract."""
    now = now_ms()
    points = [number_point(value, attributes=[], **at(now - ms)) for ms, value in ((3000, 2), (2000, 3), (1000, 4))]
    data = Sum(data_points=points, aggregation_temporality=DELTA, is_monotonic=True)
    await send(store, metrics_request(metrics=[Metric(name="added.up", sum=data)]))
    await run_once(store.connect)
    found = await chosen(pool, "added_up_total")
    assert found.kinds == ["counter"]
    assert samples(found) == [(now - 3000, 2), (now - 2000, 5), (now - 1000, 9)]
    assert samples(await chosen(pool, "added_up_total", start_ms=now - 2500)) == [(now - 2000, 5), (now - 1000, 9)]
    assert samples(await chosen(pool, "added_up_total", newest_only=True)) == [(now - 1000, 9)]


async def test_histograms_that_came_as_deltas_are_added_up(pool: asyncpg.Pool, store: Store) -> None:
    """Statement 21 of the contract, for both kinds; the last point is not in the total yet."""
    now = now_ms()
    for ms in (3000, 2000, 1000):
        point = {"attributes": [], **at(now - ms)}
        classic = histogram_point(explicit_bounds=[1], bucket_counts=[2, 1], count=3, sum=1.5, **point)
        metrics = [
            Metric(name="wait", histogram=Histogram(data_points=[classic], aggregation_temporality=DELTA)),
            Metric(
                name="rest",
                exponential_histogram=ExponentialHistogram(
                    data_points=[exponential_point(**point)], aggregation_temporality=DELTA
                ),
            ),
        ]
        await send(store, metrics_request(metrics=metrics))
        if ms > 1000:
            await run_once(store.connect)
    times = [now - 3000, now - 2000, now - 1000]
    found = await chosen(pool, 'wait_bucket{le="1"}')
    assert samples(found) == list(zip(times, [2, 4, 6], strict=True))
    assert samples(await chosen(pool, "wait_sum", start_ms=now - 2500)) == [(now - 2000, 3), (now - 1000, 4.5)]
    assert samples(await chosen(pool, "wait_count", newest_only=True)) == [(now - 1000, 9)]
    native = await chosen(pool, "rest", start_ms=now - 2500)
    assert [histogram.count for histogram in native.histograms[0]] == [14, 21]
    assert [histogram.positive_counts for histogram in native.histograms[0]] == [(2, 0, 6, 4), (3, 0, 9, 6)]
