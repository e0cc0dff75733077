"""How a service of the shop is instrumented: the official SDK with short export intervals, so that rows show up within
seconds. The providers are passed around, not set globally."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import process_time
from typing import Literal

import httpx
from fastapi import FastAPI
from grpc import Compression as GrpcCompression
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

Protocol = Literal["grpc", "http/protobuf"]

EXPORT_SECONDS = 2.0
"""Deadline of one export. It also bounds how long a service takes to stop when nobody answers."""

EXPONENTIAL = "payment.charge.duration"
"""The histogram that a view turns into an exponential one."""

_DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Who sends, and where to.

    endpoint: base URL of the OTLP receiver, without a signal's path. `compressed` sends with gzip, `delta` prefers
    delta temporality: the services differ, as they do in real life.
    """

    service: str
    version: str
    endpoint: str
    protocol: Protocol
    compressed: bool = False
    delta: bool = False


class Telemetry:
    """Tracer, meter and log handler of one service."""

    def __init__(self, settings: Settings) -> None:
        resource = Resource.create(
            {
                "service.name": settings.service,
                "service.namespace": "shop",
                "service.version": settings.version,
                # The same after a restart: the demo runs one instance of each.
                "service.instance.id": f"{settings.service}-1",
                "deployment.environment.name": "demo",
                "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
            }
        )
        spans, logs, metrics = _exporters(settings)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(
            BatchSpanProcessor(spans, schedule_delay_millis=1_000, export_timeout_millis=EXPORT_SECONDS * 1_000)
        )
        self._loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._loggers.add_log_record_processor(
            BatchLogRecordProcessor(logs, schedule_delay_millis=1_000, export_timeout_millis=EXPORT_SECONDS * 1_000)
        )
        self._meters = MeterProvider(
            resource=resource,
            metric_readers=[
                PeriodicExportingMetricReader(
                    metrics, export_interval_millis=5_000, export_timeout_millis=EXPORT_SECONDS * 1_000
                )
            ],
            views=[View(instrument_name=EXPONENTIAL, aggregation=ExponentialBucketHistogramAggregation())],
            shutdown_on_exit=False,
        )
        scope = f"shop.{settings.service}"
        self.tracer: Tracer = self._tracers.get_tracer(scope, settings.version)
        self.meter: Meter = self._meters.get_meter(scope, settings.version)
        self.meter.create_observable_counter(
            "process.cpu.time", [_cpu_time], unit="s", description="Processor time of the service"
        )
        handler = LoggingHandler(logger_provider=self._loggers, log_code_attributes=True)
        # Not the root logger: what the exporters say about a failed export must not be exported again.
        for name, level in (("shop", logging.DEBUG), ("uvicorn.error", logging.WARNING)):
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.addHandler(handler)
            logger.propagate = False

    def instrument_app(self, app: FastAPI) -> None:
        """Server spans and metrics for every route but the health check."""
        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=self._tracers,
            meter_provider=self._meters,
            excluded_urls="healthz",
            exclude_spans=["receive", "send"],
        )

    def instrument_client(self, client: httpx.AsyncClient) -> None:
        """Client spans and metrics, and the trace context in every request's headers."""
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=self._tracers, meter_provider=self._meters)

    def shutdown(self) -> None:
        """Send what is left and stop; blocks for a few seconds at most when nobody answers."""
        with ThreadPoolExecutor(max_workers=3) as threads:
            threads.submit(self._tracers.shutdown)
            threads.submit(self._loggers.shutdown)
            threads.submit(self._meters.shutdown, timeout_millis=EXPORT_SECONDS * 1_000)


def _cpu_time(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(process_time())


def _exporters(settings: Settings) -> tuple[SpanExporter, LogRecordExporter, MetricExporter]:
    temporality = _DELTA if settings.delta else None
    if settings.protocol == "grpc":
        grpc = GrpcCompression.Gzip if settings.compressed else GrpcCompression.NoCompression
        return (
            GrpcSpanExporter(endpoint=settings.endpoint, timeout=EXPORT_SECONDS, compression=grpc),
            GrpcLogExporter(endpoint=settings.endpoint, timeout=EXPORT_SECONDS, compression=grpc),
            GrpcMetricExporter(
                endpoint=settings.endpoint,
                timeout=EXPORT_SECONDS,
                compression=grpc,
                preferred_temporality=temporality,
            ),
        )
    http = HttpCompression.Gzip if settings.compressed else HttpCompression.NoCompression
    base = settings.endpoint.rstrip("/")
    return (
        HttpSpanExporter(endpoint=f"{base}/v1/traces", timeout=EXPORT_SECONDS, compression=http),
        HttpLogExporter(endpoint=f"{base}/v1/logs", timeout=EXPORT_SECONDS, compression=http),
        HttpMetricExporter(
            endpoint=f"{base}/v1/metrics",
            timeout=EXPORT_SECONDS,
            compression=http,
            preferred_temporality=temporality,
        ),
    )
