"""Metrics that connectors make of spans, as a Prometheus sees them."""

from __future__ import annotations

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.connectors.servicegraph.config import ServiceGraphConfig
from ares_otel.connectors.servicegraph.connector import FACTORY, ServiceGraph
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.exposition_messages import PROTOBUF, families_of, labels_of, native_buckets
from tests.support.ingested import OPENMETRICS, ask, families
from tests.support.parts import make_batch, traces
from tests.support.spanmetrics import SECOND, Place, span

SHOP = {"service__name": "shop", "service__instance__id": "shop-1"}
LABELS = {
    "job": "shop",
    "instance": "shop-1",
    "service_name": "shop",
    "span_name": "GET /",
    "span_kind": "SPAN_KIND_SERVER",
    "status_code": "STATUS_CODE_UNSET",
    "collector_instance_id": "ares-1/2",
    "otel_scope_name": "spanmetricsconnector",
}


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


def place_now(**options: object) -> Place:
    place = Place(**options)
    place.clock.now_ns = time.time_ns() - 10 * SECOND
    return place


async def store_what_it_made(place: Place, store: Store) -> None:
    await place.flush()
    for batch in place.pipe.batches:
        await store.consume(batch)


async def test_calls_and_durations_are_a_counter_and_a_histogram_with_exemplars(api: Api, store: Store) -> None:
    place = place_now(exemplars={"enabled": True})
    slow = span(700)
    await place.connector.observe(make_batch(traces(span(5), slow, resource=SHOP)))
    place.clock.now_ns += 5 * SECOND
    await store_what_it_made(place, store)

    found = await families(api, OPENMETRICS)
    (calls,) = (one for one in found["traces_span_metrics_calls"].samples if one.name.endswith("_total"))
    assert (calls.name, calls.labels, calls.value) == ("traces_span_metrics_calls_total", LABELS, 2)
    duration = found["traces_span_metrics_duration_milliseconds"]
    assert duration.type == "histogram"
    buckets = {one.labels["le"]: one for one in duration.samples if one.name.endswith("_bucket")}
    assert (buckets["4.0"].value, buckets["6.0"].value, buckets["+Inf"].value) == (0, 1, 2)
    exemplar = buckets["800.0"].exemplar
    assert exemplar is not None
    assert exemplar.value == 700
    assert (exemplar.labels["trace_id"], exemplar.labels["span_id"]) == (slow["trace_id"].hex(), slow["span_id"].hex())

    answer = await api.client.get(
        "/prometheus/federate", params={"match[]": ["traces_span_metrics_calls_total", '{le="6"}', '{le="6.0"}']}
    )
    assert answer.status_code == 200, answer.text
    told = {one.name: one for family in parse_text(answer.text) for one in family.samples}
    assert told["traces_span_metrics_calls_total"].value == 2
    assert told["traces_span_metrics_calls_total"].labels == LABELS
    assert told["traces_span_metrics_duration_milliseconds_bucket"].value == 1


async def test_exponential_durations_are_native_histograms(api: Api, store: Store) -> None:
    place = place_now(histogram={"exponential": {"max_size": 20}, "unit": "s"}, exemplars={"enabled": True})
    spans = [span(milliseconds) for milliseconds in (0, 1, 1, 250, 4000)]
    await place.connector.observe(make_batch(traces(*spans, resource=SHOP)))
    place.clock.now_ns += 5 * SECOND
    await store_what_it_made(place, store)

    answer = await ask(api, PROTOBUF)
    assert answer.status_code == 200, answer.text
    (metric,) = families_of(answer.content)["traces_span_metrics_duration_seconds"].metric
    assert labels_of(metric) == LABELS
    histogram = metric.histogram
    assert (histogram.sample_count, histogram.zero_count) == (5, 1)
    assert histogram.sample_sum == pytest.approx(4.252)
    assert sorted(native_buckets(histogram).values()) == [1, 1, 2]
    told = {one.value for one in histogram.exemplars}
    assert told
    assert told <= {0, 0.001, 0.25, 4}


async def test_requests_between_services_have_the_names_that_dashboards_know(api: Api, store: Store) -> None:
    place = place_now()
    context = BuildContext("servicegraph", Telemetry(), Admission(), clock=place.clock)
    graph = FACTORY.build(context, ServiceGraphConfig(), {METRICS: place.pipe})
    assert isinstance(graph, ServiceGraph)
    client = span(30, kind=3)
    server = span(20, trace_id=client["trace_id"], parent_span_id=client["span_id"])
    for service, one in (("web", client), ("shop", server)):
        await graph.observe(make_batch(traces(one, resource={"service__name": service})))
    place.clock.now_ns += 5 * SECOND
    await graph.emitter.flush()
    for batch in place.pipe.batches:
        await store.consume(batch)
    answer = await ask(api)
    told = {one.name: one for family in parse_text(answer.text) for one in family.samples}
    total = told["traces_service_graph_request_total"]
    assert (total.value, total.labels["client"], total.labels["server"]) == (1, "web", "shop")
    assert told["traces_service_graph_request_server_seconds_sum"].value == pytest.approx(0.02)
    assert told["traces_service_graph_request_client_seconds_sum"].value == pytest.approx(0.03)
