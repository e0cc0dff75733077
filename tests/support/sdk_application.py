"""An application with the official SDK and the exporters into PostgreSQL, without anything global."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ares_otel.sdk.direct import PostgresLogRecordExporter, PostgresMetricExporter, PostgresSpanExporter

NEVER = 3_600_000
"""Milliseconds: tests flush by themselves."""


class Application:
    """Three providers, each with a direct exporter."""

    def __init__(self, url: str, **limits: float) -> None:
        resource = Resource({"service.name": "shop", "service.version": "1.2.3"}, "https://example.org/schema")
        self.spans = PostgresSpanExporter(url, **limits)  # type: ignore[arg-type]
        self.logs = PostgresLogRecordExporter(url, **limits)  # type: ignore[arg-type]
        self.metrics = PostgresMetricExporter(url, **limits)  # type: ignore[arg-type]
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracers.add_span_processor(BatchSpanProcessor(self.spans, schedule_delay_millis=NEVER))
        self.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        processor: LogRecordProcessor = BatchLogRecordProcessor(self.logs, schedule_delay_millis=NEVER)
        self.loggers.add_log_record_processor(processor)
        self.reader = PeriodicExportingMetricReader(self.metrics, export_interval_millis=NEVER)
        self.meters = MeterProvider(resource=resource, metric_readers=[self.reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("shop.orders", "4")
        self.meter = self.meters.get_meter("shop.orders", "4")
        self.counter = self.meter.create_counter("orders")
        self.logger = logging.Logger("shop", logging.INFO)
        self.logger.addHandler(LoggingHandler(logger_provider=self.loggers))

    @property
    def exporters(self) -> tuple[PostgresSpanExporter, PostgresLogRecordExporter, PostgresMetricExporter]:
        return self.spans, self.logs, self.metrics

    def work(self, name: str = "GET /orders", attribute: str = "") -> None:
        """A span, a log record in it, and a data point."""
        with self.tracer.start_as_current_span(name, attributes={"text": attribute}):
            self.logger.info(name, extra={"text": attribute})
            self.counter.add(1, {"text": attribute})

    def hand_over(self) -> None:
        """Everything so far is in the exporters' hands, metrics as one batch of all series."""
        self.tracers.force_flush()
        self.loggers.force_flush()
        self.reader.collect()

    def flush(self, timeout_millis: float = 20_000) -> bool:
        """Hands over, then waits for the database."""
        self.hand_over()
        done = [exporter.force_flush(timeout_millis) for exporter in self.exporters]
        return all(done)

    def shutdown(self) -> None:
        for provider in (self.tracers, self.loggers, self.meters):
            provider.shutdown()


@contextlib.contextmanager
def application(url: str, **limits: float) -> Iterator[Application]:
    """An application for the length of a block."""
    made = Application(url, **limits)
    try:
        yield made
    finally:
        made.shutdown()


def some_spans(application: Application, count: int = 1, attribute: str = "") -> list[ReadableSpan]:
    """Spans that have ended, for `export`; no processor has seen them."""
    tracer = TracerProvider(resource=application.tracers.resource, shutdown_on_exit=False).get_tracer("shop.orders")
    found = []
    for _ in range(count):
        span = tracer.start_span("GET /orders", attributes={"text": attribute})
        span.end()
        found.append(span._readable_span())  # type: ignore[attr-defined]
    return found
