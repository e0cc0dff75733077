"""`/metrics/ingested` in protobuf, and what came from a Prometheus."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.model.prometheus.proto import exposition_pb2 as pb
from ares_otel.model.prometheus.verbatim import METADATA_TYPE, SCOPE_NAME, resource_of
from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.exposition_messages import PROTOBUF, families_of, labels_of, native_buckets
from tests.support.ingested import (
    EMPTY_SUMS,
    LEFT_OUT,
    OPENMETRICS,
    ask,
    counter,
    families,
    gauge,
    histogram,
    left_out,
    samples,
    send,
)
from tests.support.otlp_samples import exponential_point, metrics_request, pairs

OWN = (LEFT_OUT, EMPTY_SUMS, "ares_otel_exposition_joined_labels")


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


async def messages(api: Api, **params: Any) -> dict[str, pb.MetricFamily]:
    answer = await ask(api, PROTOBUF, **params)
    assert answer.status_code == 200, answer.text
    return families_of(answer.content)


def exponential(name: str, point: ExponentialHistogramDataPoint) -> Metric:
    data = ExponentialHistogram(
        data_points=[point], aggregation_temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    return Metric(name=name, exponential_histogram=data)


def from_prometheus(*metrics: tuple[Metric, str], job: str = "shop/orders", instance: str = "pod:1") -> Any:
    """A request as remote write or a scrape make it: each metric with its type in Prometheus's words."""
    request = metrics_request(metrics=[])
    [made] = request.resource_metrics
    made.resource.CopyFrom(Resource(attributes=pairs(resource_of(job, instance))))
    made.scope_metrics[0].scope.CopyFrom(InstrumentationScope(name=SCOPE_NAME))
    for metric, told in metrics:
        if told:
            metric.metadata.extend(pairs({METADATA_TYPE: told}))
        made.scope_metrics[0].metrics.append(metric)
    return request


async def test_messages_say_what_the_text_says(api: Api, store: Store) -> None:
    await send(store, metrics_request())
    found = await messages(api)
    text = await families(api)
    assert set(found) - set(OWN) - {"http_server_requests_total"} == set(text) - {"http_server_requests"}
    routes = {labels_of(metric)["http_route"]: metric.counter for metric in found["http_server_requests_total"].metric}
    assert {route: made.value for route, made in routes.items()} == {"/orders": 12, "/health": 3}
    assert routes["/orders"].HasField("created_timestamp")
    [metric] = found["http_server_request_duration_seconds"].metric
    buckets = {bucket.upper_bound: bucket.cumulative_count for bucket in metric.histogram.bucket}
    assert buckets == {0.05: 2, 0.1: 3, 0.25: 5, float("inf"): 6}
    assert found["http_server_request_duration_seconds"].unit == "seconds"
    assert found["batch_duration_seconds"].type == pb.SUMMARY
    assert found["process_memory_usage_bytes"].metric[0].gauge.value == 52_428_800


async def test_exponential_histograms_are_native_in_protobuf_and_a_count_and_sum_in_text(
    api: Api, store: Store
) -> None:
    await send(store, metrics_request(metrics=[exponential("wait", exponential_point())]))
    [metric] = (await messages(api))["wait"].metric
    assert native_buckets(metric.histogram) == {-1: 1, 0: 0, 1: 3, 2: 2}
    assert metric.histogram.sample_sum == 40.5
    assert [sample.value for sample in (await families(api))["wait"].samples] == [7, 40.5, 7]


async def test_points_that_are_no_native_histograms_are_left_out_of_protobuf_and_counted(
    api: Api, store: Store
) -> None:
    many = ExponentialHistogramDataPoint.Buckets(bucket_counts=[1] * 9000)
    metrics = [
        exponential("too.coarse", exponential_point(scale=-5)),
        exponential("too.many", exponential_point(count=9000, zero_count=0, positive=many)),
        gauge("fine"),
    ]
    await send(store, metrics_request(metrics=metrics))
    found = await messages(api)
    assert {"fine", "target_info"} == set(found) - set(OWN)
    told = {labels_of(metric)["reason"]: metric.gauge.value for metric in found[LEFT_OUT].metric}
    assert told["untranslatable"] == 2


async def test_a_sum_of_no_measurements_is_told(api: Api, store: Store) -> None:
    odd = histogram("odd", unit="", count=0, bucket_counts=[0, 0, 0, 0], sum=3, min=None, max=None)
    await send(store, metrics_request(metrics=[odd, histogram("even")]))
    assert f"\n{EMPTY_SUMS} 1\n" in (await ask(api)).text


async def test_labels_of_type_and_unit_keep_metrics_of_one_name_apart(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("load", unit="By/s", value=1), gauge("load", unit="1", value=2)]))
    wanted = {"type_and_unit_labels": "true", "translation_strategy": "UnderscoreEscapingWithoutSuffixes"}
    found = await messages(api, name_="load", **wanted)
    told = {metric.gauge.value: labels_of(metric) for metric in found["load"].metric}
    assert {value: labels.get("__unit__") for value, labels in told.items()} == {1: "bytes_per_second", 2: None}
    assert {labels["__type__"] for labels in told.values()} == {"gauge"}
    assert not any(
        "__type__" in labels_of(metric) for metric in (await messages(api, name_="load_ratio"))["load_ratio"].metric
    )


async def test_what_came_from_a_prometheus_is_told_as_it_was(api: Api, store: Store) -> None:
    own = {"job": "shop/orders", "instance": "pod:1"}
    metrics = [
        (counter("http_requests_total", 5, unit="s", labels={**own, "code": "200"}), "counter"),
        (gauge("queue.länge", 2, unit="1", labels={**own, "otel_scope_name": "theirs", "a.b": ""}), "gauge"),
        (counter("wait_bucket", 3, labels={**own, "le": "0.5"}), "histogram"),
        (counter("wait_count", 4, labels=own), "histogram"),
        (gauge("who_knows", 6, labels=own), ""),
        (gauge("build_info", 1, labels={**own, "version": "3"}), "info"),
    ]
    await send(store, from_prometheus(*metrics))
    found = await messages(api)
    assert {name: found[name].type for name in set(found) - set(OWN)} == {
        "http_requests_total": pb.COUNTER,
        "queue_l_nge": pb.GAUGE,
        "wait_bucket": pb.UNTYPED,
        "wait_count": pb.UNTYPED,
        "who_knows": pb.UNTYPED,
        "build_info": pb.GAUGE,
    }
    assert labels_of(found["http_requests_total"].metric[0]) == {**own, "code": "200"}
    assert labels_of(found["queue_l_nge"].metric[0]) == {**own, "otel_scope_name": "theirs"}
    assert labels_of(found["wait_bucket"].metric[0]) == {**own, "le": "0.5"}
    text = await families(api, f"{OPENMETRICS}; escaping=allow-utf-8")
    assert {name: family.type for name, family in text.items()} == {
        "http_requests": "counter",
        "queue.länge": "gauge",
        "wait_bucket": "unknown",
        "wait_count": "unknown",
        "who_knows": "unknown",
        "build": "info",
    }
    plain = await families(api)
    assert plain["wait_bucket"].type == "unknown"  # what the official parser makes of `untyped`
    assert samples(plain["wait_bucket"]) == {("wait_bucket", (("le", "0.5"),)): 3}
    assert await left_out(api) == {}


async def test_a_target_info_that_was_scraped_stands_beside_those_that_are_made(api: Api, store: Store) -> None:
    scraped = gauge("target_info", 1, labels={"job": "scraped", "region": "eu"})
    await send(store, from_prometheus((scraped, "info"), job="scraped", instance=""))
    await send(store, metrics_request("sent", [gauge()], **{"host.name": "kappa"}))
    [scraped_info, made] = sorted((await families(api))["target_info"].samples, key=lambda sample: sample.labels["job"])
    assert scraped_info.labels == {"job": "scraped", "region": "eu"}
    assert made.labels["host_name"] == "kappa"


async def test_selectors_see_the_labels_that_came(api: Api, store: Store) -> None:
    metric = counter("http_requests_total", 5, labels={"job": "a/b", "instance": "i"})
    await send(store, from_prometheus((metric, "counter"), job="a/b", instance="i"))
    assert "http_requests" in await families(api, match_='http_requests_total{job="a/b",instance="i"}')
    assert not await families(api, match_='http_requests_total{otel_scope_name=~".+"}')
