"""What an instance's SDK exports once a minute: every kind of metric, twenty label sets for those of requests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, ScopeMetrics

from ares_otel.cli.bench.data.fleet import Service
from ares_otel.cli.bench.data.values import Attributes, key_values

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Advice of the semantic conventions for http.server.request.duration."""
LABEL_SETS = 20
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_POOLS = ("G1 Eden Space", "G1 Old Gen", "Metaspace", "Compressed Class Space", "CodeCache")


def exported_by(service: Service, source: random.Random, started: int, at: int) -> list[ScopeMetrics]:
    """One export of one instance. Times are nanoseconds."""
    writer = _Writer(source, started, at)
    routes = list(_routes(service))
    http = ScopeMetrics(metrics=list(writer.http(service, routes)))
    http.scope.name = service.scope("http.server")
    runtime = ScopeMetrics(metrics=list(writer.runtime(service)))
    runtime.scope.name = service.scope("runtime")
    return [http, runtime]


def _routes(service: Service) -> Iterator[Attributes]:
    """Twenty label sets: every route with its usual answers."""
    found = 0
    for status in (200, 500, 404):
        for method, route in service.routes:
            if found < LABEL_SETS:
                found += 1
                yield {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                    "url.scheme": "https",
                    "network.protocol.version": "1.1",
                }


class _Writer:
    def __init__(self, source: random.Random, started: int, at: int) -> None:
        self._source = source
        self._times = {"start_time_unix_nano": started, "time_unix_nano": at}
        self._at = at

    def http(self, service: Service, routes: Sequence[Attributes]) -> Iterator[Metric]:
        source = self._source
        metric = Metric(name="http.server.request.duration", unit="s", description="Duration of HTTP server requests.")
        metric.histogram.aggregation_temporality = _CUMULATIVE
        for labels in routes:
            counts = [source.randrange(60) for _ in range(len(BOUNDS) + 1)]
            point = metric.histogram.data_points.add(
                attributes=key_values(labels),
                explicit_bounds=BOUNDS,
                bucket_counts=counts,
                count=sum(counts),
                sum=sum(counts) * 0.083,
                min=0.0021,
                max=4.2,
                **self._times,
            )
            if source.random() < 0.3:
                point.exemplars.add(
                    time_unix_nano=self._at - 1000,
                    as_double=0.083,
                    trace_id=source.randbytes(16),
                    span_id=source.randbytes(8),
                )
        yield metric
        metric = Metric(name="http.server.response.body.size", unit="By", description="Size of HTTP answers.")
        metric.exponential_histogram.aggregation_temporality = _DELTA
        for labels in routes:
            counts = [source.randrange(30) for _ in range(20)]
            small = metric.exponential_histogram.data_points.add(
                attributes=key_values(labels), scale=3, zero_count=1, count=1 + sum(counts), sum=9.5e5, **self._times
            )
            small.positive.offset = 60
            small.positive.bucket_counts.extend(counts)
        yield metric
        metric = Metric(name="shop.requests", unit="{request}", description="Requests by outcome.")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = _CUMULATIVE, True
        for labels in routes:
            metric.sum.data_points.add(attributes=key_values(labels), as_int=source.randrange(10**6), **self._times)
        yield metric
        metric = Metric(name="http.server.active_requests", unit="{request}")
        metric.sum.aggregation_temporality = _CUMULATIVE
        for method in ("GET", "POST", "PUT", "DELETE"):
            labels = {"http.request.method": method, "url.scheme": "https"}
            metric.sum.data_points.add(attributes=key_values(labels), as_int=source.randrange(40), **self._times)
        yield metric

    def runtime(self, service: Service) -> Iterator[Metric]:
        source = self._source
        for name, unit in (("jvm.memory.used", "By"), ("jvm.memory.committed", "By"), ("jvm.memory.limit", "By")):
            metric = Metric(name=name, unit=unit, description="Memory by pool.")
            for pool in _POOLS:
                labels = {"jvm.memory.type": "heap", "jvm.memory.pool.name": pool}
                metric.gauge.data_points.add(
                    attributes=key_values(labels), as_int=source.randrange(2**31), time_unix_nano=self._at
                )
            yield metric
        metric = Metric(name="process.cpu.time", unit="s")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = _CUMULATIVE, True
        for mode in ("user", "system"):
            metric.sum.data_points.add(
                attributes=key_values({"cpu.mode": mode}), as_double=source.random() * 9000, **self._times
            )
        yield metric
        metric = Metric(name="shop.queue.length", unit="{message}")
        for partition in range(12):
            labels = {"messaging.destination.name": service.name, "messaging.destination.partition.id": str(partition)}
            metric.gauge.data_points.add(
                attributes=key_values(labels), as_double=source.random() * 50, time_unix_nano=self._at
            )
        yield metric
        metric = Metric(
            name="rpc_server_latency_seconds", unit="s", description="Latency as Prometheus's client has it."
        )
        for table in service.tables:
            point = metric.summary.data_points.add(
                attributes=key_values({"table": table}), count=source.randrange(10**5), sum=812.25, **self._times
            )
            for quantile in (0.5, 0.9, 0.99):
                point.quantile_values.add(quantile=quantile, value=source.random())
        yield metric
