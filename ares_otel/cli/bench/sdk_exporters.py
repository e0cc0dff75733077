"""The exporters that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ares_otel.sdk.direct import PostgresLogRecordExporter, PostgresMetricExporter, PostgresSpanExporter


class DiscardSpans(SpanExporter):
    """What the SDK itself costs, its batch processors included."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None: ...


class DiscardLogs(LogRecordExporter):
    """The same of log records."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return True

    def shutdown(self) -> None: ...


class DiscardMetrics(MetricExporter):
    """The same of metrics."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Exporters:
    """One for each signal."""

    spans: SpanExporter
    logs: LogRecordExporter
    metrics: MetricExporter

    def flush(self) -> None:
        """The SDK's processors do not wait for what an exporter keeps."""
        for exporter in (self.spans, self.logs, self.metrics):
            exporter.force_flush(60_000)


def exporters(kind: str, grpc: str, http: str, database: str) -> Exporters:
    """Of one of the kinds `discard`, `grpc`, `http` and `direct`."""
    if kind == "discard":
        return Exporters(DiscardSpans(), DiscardLogs(), DiscardMetrics())
    if kind == "grpc":
        return Exporters(
            GrpcSpans(endpoint=grpc, insecure=True),
            GrpcLogs(endpoint=grpc, insecure=True),
            GrpcMetrics(endpoint=grpc, insecure=True),
        )
    if kind == "http":
        return Exporters(
            HttpSpans(endpoint=f"{http}/v1/traces"),
            HttpLogs(endpoint=f"{http}/v1/logs"),
            HttpMetrics(endpoint=f"{http}/v1/metrics"),
        )
    return Exporters(
        PostgresSpanExporter(database), PostgresLogRecordExporter(database), PostgresMetricExporter(database)
    )
