"""The three signals of OTLP, one row each: what differs between them stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A kind of telemetry and its OTLP names.

    Source of the names: OTLP specification 1.x, "OTLP/gRPC Service and Protobuf Definitions" and "OTLP/HTTP Request".
    """

    name: str
    """`traces`, `logs` or `metrics`, as in `service.pipelines` of the Collector's configuration."""
    items: str
    """What is counted, as the Collector's own metrics call it: `spans`, `log_records`, `metric_points`."""
    request: type[Message]
    response: type[Message]
    service: str
    """Full name of the gRPC service; its method is `Export`."""
    http_path: str
    rejected_field: str
    """Field of `partial_success` that counts rejected items."""
    count: Callable[[Any], int]
    """Number of items in a request message."""

    def __repr__(self) -> str:
        return self.name


def _count_spans(request: ExportTraceServiceRequest) -> int:
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def _count_log_records(request: ExportLogsServiceRequest) -> int:
    return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)


def _count_points(request: ExportMetricsServiceRequest) -> int:
    return sum(
        len(getattr(metric, kind).data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (kind := metric.WhichOneof("data"))
    )


TRACES = Signal(
    name="traces",
    items="spans",
    request=ExportTraceServiceRequest,
    response=ExportTraceServiceResponse,
    service="opentelemetry.proto.collector.trace.v1.TraceService",
    http_path="/v1/traces",
    rejected_field="rejected_spans",
    count=_count_spans,
)
LOGS = Signal(
    name="logs",
    items="log_records",
    request=ExportLogsServiceRequest,
    response=ExportLogsServiceResponse,
    service="opentelemetry.proto.collector.logs.v1.LogsService",
    http_path="/v1/logs",
    rejected_field="rejected_log_records",
    count=_count_log_records,
)
METRICS = Signal(
    name="metrics",
    items="metric_points",
    request=ExportMetricsServiceRequest,
    response=ExportMetricsServiceResponse,
    service="opentelemetry.proto.collector.metrics.v1.MetricsService",
    http_path="/v1/metrics",
    rejected_field="rejected_data_points",
    count=_count_points,
)
SIGNALS: dict[str, Signal] = {signal.name: signal for signal in (TRACES, LOGS, METRICS)}
