"""`/metrics/ingested` and the list of metrics tell what a Prometheus told of metrics apart from their samples."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ares_otel.model.prometheus.metadata import MetricMetadata
from ares_otel.model.prometheus.verbatim import METADATA_TYPE, SCOPE_NAME
from ares_otel.query.prometheus.listing import Metadata, metadata
from ares_otel.receivers.prometheusremotewrite.decode import decode_v1
from ares_otel.receivers.prometheusremotewrite.series import SeriesBook
from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.eventually import eventually
from tests.support.exposition_messages import PROTOBUF, families_of
from tests.support.ingested import OPENMETRICS, ask, counter, families, gauge, histogram, left_out, send
from tests.support.otlp_samples import metrics_request
from tests.support.remote_write import request_v1, series


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=2) as made:
        yield made


async def write(store: Store, *names: str) -> None:
    """Remote write 1.0, which says no types."""
    now_ns = time.time_ns()
    told = [series(name, (now_ns // 10**6, 3.0), le="1") for name in names]
    payload = decode_v1(request_v1(told).SerializeToString(), now_ns, SeriesBook(2**20)).payload
    await send(store, ExportMetricsServiceRequest.FromString(payload))


async def tell(store: Store, pool: asyncpg.Pool, *told: MetricMetadata) -> None:
    store.metadata.note(0, told)

    async def kept() -> bool:
        return bool(await pool.fetchval("SELECT true FROM prometheus_metadata WHERE help = $1", told[-1].help))

    await eventually(kept)


def scraped(*metrics: Metric) -> ExportMetricsServiceRequest:
    """What a page that says types and descriptions is stored as."""
    request = metrics_request("shop", metrics)
    types = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        metric.description = "As the page says"
        said = metric.metadata.add(key=METADATA_TYPE)
        said.value.string_value = types[metric.WhichOneof("data") or ""]
    request.resource_metrics[0].scope_metrics[0].scope.name = SCOPE_NAME
    return request


async def test_type_unit_and_description_are_those_that_remote_write_told_apart(
    store: Store, api: Api, pool: asyncpg.Pool
) -> None:
    await write(store, "load", "seen", "busy_seconds_total", "wait_bucket", "untold")
    before = await families(api)
    assert {name: (family.type, family.documentation) for name, family in before.items()} == {
        "load": ("unknown", ""),
        "seen": ("unknown", ""),
        "busy_seconds": ("counter", ""),
        "wait_bucket": ("unknown", ""),
        "untold": ("unknown", ""),
    }
    await tell(
        store,
        pool,
        MetricMetadata("load", "gauge", "", "Load"),
        MetricMetadata("seen", "counter", "", "Seen"),
        MetricMetadata("busy_seconds", "counter", "seconds", "Busy"),  # as OpenMetrics calls the family
        MetricMetadata("wait", "histogram", "", "Wait"),
    )
    after = await families(api)
    assert {name: (family.type, family.documentation) for name, family in after.items()} == {
        "load": ("gauge", "Load"),
        "seen": ("counter", "Seen"),
        "busy_seconds": ("counter", "Busy"),
        "wait_bucket": ("unknown", ""),
        "untold": ("unknown", ""),
    }
    assert (await families(api, OPENMETRICS))["busy_seconds"].unit == "seconds"


async def test_a_series_whose_type_was_not_told_yet_joins_the_metric_of_its_name(store: Store, api: Api) -> None:
    await write(store, "load")
    await send(store, scraped(gauge("load", 2.0)))
    for accept in ("", OPENMETRICS):
        family = (await families(api, accept))["load"]
        assert (family.type, family.documentation) == ("gauge", "As the page says")
        assert sorted(sample.value for sample in family.samples) == [2, 3]
    found = families_of((await ask(api, PROTOBUF)).content)["load"]
    assert sorted(metric.gauge.value for metric in found.metric) == [2, 3]
    assert await left_out(api) == {}


async def test_a_histogram_and_single_lines_of_one_do_not_mix_and_federation_has_both(store: Store, api: Api) -> None:
    await send(store, scraped(histogram("wait", unit="")))
    await write(store, "wait_count", "wait_bucket")
    found = await families(api)
    assert (found["wait"].type, set(found)) == ("histogram", {"wait", "target_info"})
    assert await left_out(api) == {"conflicts": 2}
    answer = await api.client.get("/prometheus/federate", params={"match[]": "wait_count"})
    assert sorted(line.split()[1] for line in answer.text.splitlines() if not line.startswith("#")) == ["3", "6"]


async def test_a_description_that_is_put_right_counts(store: Store, api: Api, pool: asyncpg.Pool) -> None:
    await write(store, "load")
    await tell(store, pool, MetricMetadata("load", "gauge", "", "Lod"))
    await pool.execute("UPDATE prometheus_metadata SET first_seen = first_seen - interval '1 hour'")
    await tell(store, pool, MetricMetadata("load", "gauge", "", "Load"))
    assert (await families(api))["load"].documentation == "Load"
    found = await metadata(pool, limit=10, limit_per_metric=10)
    assert found == {"load": [Metadata("gauge", "", "Load"), Metadata("gauge", "", "Lod")]}


async def test_a_page_that_was_scraped_tells_its_metrics_itself(store: Store, pool: asyncpg.Pool) -> None:
    await send(store, scraped(counter("seen_total"), gauge("load")))
    assert await metadata(pool, limit=10, limit_per_metric=10) == {
        "load": [Metadata("gauge", "", "As the page says")],
        "seen_total": [Metadata("counter", "", "As the page says")],
    }
    await tell(store, pool, MetricMetadata("load", "gauge", "", "As somebody else says"))
    found = await metadata(pool, metric="load", limit=10, limit_per_metric=10)
    assert found == {"load": [Metadata("gauge", "", "As somebody else says")]}
