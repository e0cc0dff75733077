"""A current Prometheus, unchanged, scrapes an application and writes to Ares by remote write 2.0: native histograms,
exemplars, metadata, names in UTF-8. Another one, which knows nothing, reads it back from Ares: both have the same
series with the same values."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram, Metric

from ares_otel.model.prometheus.proto import exposition_pb2 as exposition
from tests.support.ares_process import AresProcess
from tests.support.eventually import eventually
from tests.support.ingested import counter, post
from tests.support.metrics_page import metrics_page
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, pairs
from tests.support.prometheus import BUILD_SECONDS, Prometheus, current_or_skip, running_prometheus

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 180)

TRACE = "0af7651916cd43dd8448eb211c80319c"
FEATURES = "--enable-feature=exemplar-storage,metadata-wal-records"


def page(look: int) -> bytes:
    """What the application says about itself at look number 1, 2, …: one of each type."""
    made = exposition
    label = [made.LabelPair(name="code", value="200")]
    exemplar = made.Exemplar(label=[made.LabelPair(name="trace_id", value=TRACE)], value=1)
    exemplar.timestamp.GetCurrentTime()
    native = made.Histogram(
        sample_count=4 * look,
        sample_sum=0.1 * look,
        schema=3,
        zero_threshold=2**-128,
        zero_count=look,
        positive_span=[made.BucketSpan(offset=-9, length=2), made.BucketSpan(offset=3, length=1)],
        positive_delta=[look, 0, 0],
    )
    classic = made.Histogram(
        sample_count=3 * look,
        sample_sum=0.7 * look,
        bucket=[
            made.Bucket(upper_bound=0.1, cumulative_count=2 * look, exemplar=exemplar),
            made.Bucket(upper_bound=1, cumulative_count=3 * look),
        ],
    )
    summary = made.Summary(sample_count=look, sample_sum=2.5 * look, quantile=[made.Quantile(quantile=0.5, value=2.25)])
    families = [
        made.MetricFamily(
            name="shop_orders_total",
            help="Orders",
            type=made.COUNTER,
            metric=[made.Metric(label=label, counter=made.Counter(value=7.5 * look, exemplar=exemplar))],
        ),
        made.MetricFamily(
            name="shop.temperature",
            unit="celsius",
            type=made.GAUGE,
            metric=[
                made.Metric(
                    label=[made.LabelPair(name="room.name", value='k"itchen\\')], gauge=made.Gauge(value=-1.5 * look)
                )
            ],
        ),
        made.MetricFamily(name="shop_wait_seconds", type=made.HISTOGRAM, metric=[made.Metric(histogram=native)]),
        made.MetricFamily(name="shop_size_bytes", type=made.HISTOGRAM, metric=[made.Metric(histogram=classic)]),
        made.MetricFamily(name="shop_price", type=made.SUMMARY, metric=[made.Metric(label=label, summary=summary)]),
        made.MetricFamily(
            name="shop_odd",
            type=made.UNTYPED,
            metric=[made.Metric(untyped=made.Untyped(value=float("inf") if look % 2 else 0.1))],
        ),
    ]
    return b"".join(bytes([*_length(len(body))]) + body for body in (one.SerializeToString() for one in families))


def leaving(look: int) -> bytes | None:
    """An application that answers five looks and then no more."""
    return page(look) if look <= 5 else None


def _length(size: int) -> Iterator[int]:
    while size > 127:
        yield size & 127 | 128
        size >>= 7
    yield size


@dataclass(frozen=True)
class Pair:
    """Who writes to Ares, and who reads from it."""

    writer: Prometheus
    reader: Prometheus

    async def same(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The answer that both give to a query at a time in the past; an AssertionError while they differ."""
        wrote = await asked(self.writer, promql, at)
        assert await asked(self.reader, promql, at) == wrote
        return list(wrote.values())


async def asked(server: Prometheus, promql: str, at: float) -> dict[str, Any]:
    """The series of an answer by their labels."""
    data = await server.ask("query", query=promql, time=at)
    return {json.dumps(row.pop("metric"), sort_keys=True): row for row in data["result"]}


@pytest.fixture(scope="module")
def pair(ares: AresProcess) -> Iterator[Pair]:
    binary = current_or_skip()
    write = {
        "url": f"{ares.http}/prometheus/api/v1/write",
        "protobuf_message": "io.prometheus.write.v2.Request",
        "send_exemplars": True,
        "send_native_histograms": True,
        "queue_config": {"batch_send_deadline": "200ms"},
    }
    read = {"url": f"{ares.http}/prometheus/api/v1/read", "read_recent": True}
    with metrics_page(page) as shop, metrics_page(leaving) as gone:
        jobs = [
            {"job_name": name, "scrape_native_histograms": True, "static_configs": [{"targets": [target]}]}
            for name, target in (("shop", shop), ("gone", gone))
        ]
        config = {"scrape_configs": jobs, "remote_write": [write]}
        with (
            running_prometheus(binary, config, [FEATURES]) as writer,
            running_prometheus(binary, {"remote_read": [read]}) as reader,
        ):
            yield Pair(writer, reader)


@pytest.fixture
async def at(pair: Pair) -> float:
    """A time at which the application was looked at five times or more."""

    async def scraped() -> bool:
        return await pair.writer.has('count_over_time(up{job="shop"}[5m]) >= 5')

    await eventually(scraped)
    return time.time()


async def test_what_is_written_reads_back_with_the_same_series_times_and_values(pair: Pair, at: float) -> None:
    rows = await eventually(lambda: pair.same('{job="shop"}[5m]', at))
    kinds = [("histograms" if "histograms" in row else "values") for row in rows]
    assert kinds.count("histograms") == 1
    assert all(len(row[kind]) >= 5 for row, kind in zip(rows, kinds, strict=True))
    names = {json.loads(labels)["__name__"] for labels in await asked(pair.reader, '{job="shop"}', at)}
    assert names >= {"up", "shop_orders_total", "shop.temperature", "shop_wait_seconds", "shop_size_bytes_bucket"}
    assert names >= {"shop_price", "shop_price_sum", "shop_odd", "scrape_samples_scraped"}


@pytest.mark.parametrize(
    "promql",
    [
        "rate(shop_orders_total[5m])",
        "histogram_quantile(0.9, rate(shop_wait_seconds[5m]))",
        "histogram_quantile(0.9, sum by (le) (rate(shop_size_bytes_bucket[5m])))",
        'max by ("room.name") ({"shop.temperature"})',
        "sum(shop_wait_seconds)",
        'count({__name__=~"shop_.+"})',
        'sum by (job) ({__name__=~".+_total", code!~"5.."})',
        "shop_price / ignoring (quantile) group_left shop_price_count",
    ],
)
async def test_promql_over_ares_gives_what_promql_over_prometheus_gives(pair: Pair, at: float, promql: str) -> None:
    assert await eventually(lambda: pair.same(promql, at))


async def test_what_is_written_is_in_the_tables(pair: Pair, at: float, database: asyncpg.Connection) -> None:
    await eventually(lambda: pair.same('{job="shop"}[5m]', at))
    types = dict(
        await database.fetch(
            "SELECT DISTINCT metric_name, metric_type FROM service_metrics WHERE service_name = 'shop'"
        )
    )
    assert types["shop_orders_total"] == "counter"
    assert types["shop.temperature"] == "gauge"
    assert types["shop_wait_seconds"] == "exponential_histogram"
    newest = await database.fetchval(
        "SELECT max(metric_value) FROM service_metrics "
        "WHERE service_name = 'shop' AND metric_name = 'shop_orders_total' AND \"timestamp\" <= to_timestamp($1)",
        at,
    )
    [row] = (await asked(pair.writer, 'shop_orders_total{job="shop"}', at)).values()
    assert newest == float(row["value"][1])
    exemplars = await database.fetch("SELECT exemplars::text FROM metric_samples WHERE exemplars IS NOT NULL")
    assert any(TRACE in row["exemplars"] for row in exemplars)


async def test_an_application_that_went_away_is_stale_at_once_on_both_sides(pair: Pair) -> None:
    await eventually(lambda: pair.writer.has('up{job="gone"} == 0 and count_over_time(up[5m]) >= 8'))
    at = time.time()
    rows = await eventually(lambda: pair.same('{job="gone", __name__=~"shop.+"}[5m]', at))
    assert any("histograms" in row for row in rows)

    async def stale() -> bool:
        return await pair.same('{job="gone", __name__=~"shop.+"}', at) == []

    await eventually(stale)
    [up] = await eventually(lambda: pair.same('up{job="gone"}', at))
    assert up["value"][1] == "0"


async def test_metrics_of_otlp_read_back_as_prometheus_would_have_them(pair: Pair, ares: AresProcess) -> None:
    histogram = ExponentialHistogram(
        data_points=[exponential_point(attributes=pairs({"queue": "mail"}))], aggregation_temporality=CUMULATIVE
    )
    metrics = [counter("letters.sent", 42), Metric(name="mail.wait", unit="s", exponential_histogram=histogram)]
    await post(ares.otlp_http, metrics_request("post", metrics))
    reader = pair.reader
    assert await eventually(lambda: reader.query("letters_sent_total")) != {}
    assert await reader.value('letters_sent_total{job="post"}') == 42
    assert await reader.value('histogram_count(mail_wait_seconds{queue="mail"})') == 7
    assert await reader.value("histogram_sum(mail_wait_seconds)") == 40.5
