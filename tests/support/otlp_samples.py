"""Small builders of realistic OTLP requests. Everything they make is valid, happened just now, and differs from call to
call: ids are random."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"


def any_value(value: Any) -> AnyValue:
    """An AnyValue from a Python value: str, bool, int, float, bytes, list, dict; None is a value that is not set."""
    if value is None:
        return AnyValue()
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))


def nested(kind: str, levels: int, root: AnyValue | None = None) -> AnyValue:
    """A value of so many arrays (`array_value`) or key-value lists (`kvlist_value`) inside each other.

    It is built inside `root` when given: protobuf refuses to copy a value that is too deep for its parser.
    """
    made = inner = AnyValue() if root is None else root
    for _ in range(levels):
        added = getattr(inner, kind).values.add()
        inner = added.value if kind == "kvlist_value" else added
    inner.bool_value = True
    return made


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """An attribute list from a dict."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def resource(service: str = "shop", **attributes: Any) -> Resource:
    """A resource as an SDK sends it; keywords add attributes (`_` stands for `.`)."""
    given = {name.replace("_", "."): value for name, value in attributes.items()}
    return Resource(
        attributes=pairs(
            {
                "service.name": service,
                "service.version": "1.4.2",
                "service.instance.id": "9f1c",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.version": "1.39.0",
                **given,
            }
        )
    )


def scope(name: str = "opentelemetry.instrumentation.fastapi", version: str = "0.60b0") -> InstrumentationScope:
    return InstrumentationScope(name=name, version=version)


def span(**changes: Any) -> Span:
    """A server span with the attributes of an HTTP call; keywords set fields of the message."""
    end = time.time_ns()
    fields: dict[str, Any] = {
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "parent_span_id": os.urandom(8),
        "flags": 0x101,
        "name": "GET /orders/{order_id}",
        "kind": Span.SPAN_KIND_SERVER,
        "start_time_unix_nano": end - 12_345_678,
        "end_time_unix_nano": end,
        "attributes": pairs(
            {
                "http.request.method": "GET",
                "http.route": "/orders/{order_id}",
                "http.response.status_code": 200,
                "url.scheme": "http",
                "url.path": f"/orders/{end % 100_000}",
                "server.address": "127.0.0.1",
                "server.port": 8000,
                "user_agent.original": "python-httpx/0.28.1",
                "client.address": "127.0.0.1",
                "network.protocol.version": "1.1",
            }
        ),
        "status": Status(),
    }
    return Span(**{**fields, **changes})


def trace_request(
    service: str = "shop", spans: int | Sequence[Span] = 3, **attributes: Any
) -> ExportTraceServiceRequest:
    """One resource, one scope, and so many spans or the given ones; keywords are resource attributes."""
    made = [span() for _ in range(spans)] if isinstance(spans, int) else spans
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=resource(service, **attributes),
                scope_spans=[ScopeSpans(scope=scope(), spans=made, schema_url=SCHEMA_URL)],
                schema_url=SCHEMA_URL,
            )
        ]
    )


def log_record(**changes: Any) -> LogRecord:
    """An INFO line inside a span; keywords set fields of the message."""
    now = time.time_ns()
    fields: dict[str, Any] = {
        "time_unix_nano": now,
        "observed_time_unix_nano": now + 1000,
        "severity_number": 9,
        "severity_text": "INFO",
        "body": AnyValue(string_value="order 42 was paid"),
        "attributes": pairs(
            {
                "code.file.path": "/srv/shop/orders.py",
                "code.line.number": 118,
                "code.function.name": "pay",
                "order.id": now % 100_000,
            }
        ),
        "flags": 1,
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
    }
    return LogRecord(**{**fields, **changes})


def logs_request(
    service: str = "shop", records: int | Sequence[LogRecord] = 3, **attributes: Any
) -> ExportLogsServiceRequest:
    """One resource, one scope, and so many log records or the given ones; keywords are resource attributes."""
    made = [log_record() for _ in range(records)] if isinstance(records, int) else records
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=resource(service, **attributes),
                scope_logs=[ScopeLogs(scope=scope("shop.orders", ""), log_records=made)],
                schema_url=SCHEMA_URL,
            )
        ]
    )


def number_point(value: float | None = 1.5, **changes: Any) -> NumberDataPoint:
    """A point of a gauge or sum: an int makes an integer point, None one without a value."""
    now = time.time_ns()
    fields: dict[str, Any] = {
        "attributes": pairs({"http.route": "/orders", "http.request.method": "GET"}),
        "start_time_unix_nano": now - 60_000_000_000,
        "time_unix_nano": now,
    }
    if isinstance(value, int):
        fields["as_int"] = value
    elif value is not None:
        fields["as_double"] = value
    return NumberDataPoint(**{**fields, **changes})


def histogram_point(**changes: Any) -> HistogramDataPoint:
    now = time.time_ns()
    fields: dict[str, Any] = {
        "attributes": pairs({"http.route": "/orders"}),
        "start_time_unix_nano": now - 60_000_000_000,
        "time_unix_nano": now,
        "count": 6,
        "sum": 0.9,
        "min": 0.01,
        "max": 0.5,
        "explicit_bounds": [0.05, 0.1, 0.25],
        "bucket_counts": [2, 1, 2, 1],
        "exemplars": [Exemplar(time_unix_nano=now, as_double=0.2, trace_id=os.urandom(16), span_id=os.urandom(8))],
    }
    return HistogramDataPoint(**{**fields, **changes})


def exponential_point(**changes: Any) -> ExponentialHistogramDataPoint:
    now = time.time_ns()
    fields: dict[str, Any] = {
        "attributes": pairs({"queue": "mail"}),
        "start_time_unix_nano": now - 60_000_000_000,
        "time_unix_nano": now,
        "count": 7,
        "sum": 40.5,
        "scale": 3,
        "zero_count": 1,
        "positive": ExponentialHistogramDataPoint.Buckets(offset=-2, bucket_counts=[1, 0, 3, 2]),
    }
    return ExponentialHistogramDataPoint(**{**fields, **changes})


def summary_point(**changes: Any) -> SummaryDataPoint:
    now = time.time_ns()
    quantile = SummaryDataPoint.ValueAtQuantile
    fields: dict[str, Any] = {
        "attributes": pairs({"job": "nightly"}),
        "time_unix_nano": now,
        "count": 10,
        "sum": 25.0,
        "quantile_values": [quantile(quantile=0.5, value=2.0), quantile(quantile=0.99, value=7.5)],
    }
    return SummaryDataPoint(**{**fields, **changes})


def every_metric() -> list[Metric]:
    """One metric of every type, two points in the sums."""
    return [
        Metric(name="process.memory.usage", unit="By", gauge=Gauge(data_points=[number_point(52_428_800)])),
        Metric(
            name="http.server.requests",
            unit="{request}",
            description="Requests served",
            sum=Sum(
                data_points=[number_point(12), number_point(3, attributes=pairs({"http.route": "/health"}))],
                aggregation_temporality=CUMULATIVE,
                is_monotonic=True,
            ),
        ),
        Metric(
            name="queue.length",
            unit="{job}",
            sum=Sum(data_points=[number_point(-2), number_point(2.5)], aggregation_temporality=DELTA),
        ),
        Metric(
            name="http.server.request.duration",
            unit="s",
            histogram=Histogram(data_points=[histogram_point()], aggregation_temporality=CUMULATIVE),
        ),
        Metric(
            name="mail.wait",
            unit="ms",
            exponential_histogram=ExponentialHistogram(
                data_points=[exponential_point()], aggregation_temporality=DELTA
            ),
        ),
        Metric(name="batch.duration", unit="s", summary=Summary(data_points=[summary_point()])),
    ]


def metrics_request(
    service: str = "shop", metrics: Sequence[Metric] | None = None, **attributes: Any
) -> ExportMetricsServiceRequest:
    """One resource, one scope, and one metric of every type or the given ones; keywords are resource attributes."""
    made = every_metric() if metrics is None else metrics
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=resource(service, **attributes),
                scope_metrics=[ScopeMetrics(scope=scope("shop.meter", "2.0"), metrics=made)],
                schema_url=SCHEMA_URL,
            )
        ]
    )


SAMPLES: dict[Signal, Callable[[], Any]] = {TRACES: trace_request, LOGS: logs_request, METRICS: metrics_request}
"""A request of each signal, different at every call."""


def batch_of(request: Message, *, tenant_id: int = 0, received_ns: int | None = None) -> Batch:
    """A request as the pipeline carries it, as if it had come by OTLP/gRPC just now."""
    signal = next(signal for signal in SIGNALS.values() if isinstance(request, signal.request))
    return Batch(
        signal,
        request.SerializeToString(),
        tenant_id=tenant_id,
        received_ns=time.time_ns() if received_ns is None else received_ns,
        receiver="otlp",
        transport="grpc",
    )
