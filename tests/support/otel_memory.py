"""OpenTelemetry providers that keep what they are given in memory, for tests in this process. None is global."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler


class Failing(SpanProcessor, LogRecordProcessor):
    """A processor with an error in it, for spans and for records."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        raise RuntimeError("broken processor")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("broken processor")

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        raise RuntimeError("broken processor")

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Memory:
    """The three providers, and what came to them."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._spans = InMemorySpanExporter()
        self._records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self._records))
        self.meters = MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that ended, in this order."""
        return list(self._spans.get_finished_spans())

    @property
    def records(self) -> list[ReadableLogRecord]:
        """Log records, oldest first."""
        return list(self._records.get_finished_logs())

    @property
    def record(self) -> Any:
        """The only log record, as the API has it: body, attributes, trace_id, …"""
        (one,) = self.records
        return one.log_record

    def request(self) -> ExportLogsServiceRequest:
        """The records as the OTLP exporter sends them."""
        return encode_logs(self.records)

    def forget_records(self) -> None:
        self._records.clear()

    def metrics(self) -> dict[str, Metric]:
        """What the meters collected, by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The data points of a metric; none where nothing was recorded."""
        metrics = self.metrics()
        return list(metrics[name].data.data_points) if name in metrics else []

    def shutdown(self) -> None:
        self.tracers.shutdown()
        self.loggers.shutdown()
        self.meters.shutdown()


@contextmanager
def otel_memory(sampler: Sampler | None = None) -> Iterator[Memory]:
    """Providers for the length of a block."""
    memory = Memory(sampler)
    try:
        yield memory
    finally:
        memory.shutdown()
