"""From the test's own process to its Ares: what is recorded is exported too, by OpenTelemetry's own exporters."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ares_otel.testing.providers import the_providers

_SOON = 100.0
_FLUSH = 10_000


class Sending:
    """From the moment it is made to `stop`."""

    def __init__(self, endpoint: str, service_name: str) -> None:
        """
        Args:
            endpoint: base URL of OTLP/HTTP.
            service_name: of the resource under which it is sent; the resource that the code recorded keeps the rest.
        """
        self._providers = the_providers()
        self._providers.install()
        named = Resource({"service.name": service_name})
        self.spans = BatchSpanProcessor(_Spans(named, f"{endpoint}/v1/traces"), schedule_delay_millis=_SOON)
        self.logs = BatchLogRecordProcessor(_Logs(named, f"{endpoint}/v1/logs"), schedule_delay_millis=_SOON)
        self._readers: list[tuple[Any, _Reader]] = []
        for provider in self._providers.meters:
            reader = _Reader(_Metrics(named, f"{endpoint}/v1/metrics"))
            provider.add_metric_reader(reader)
            self._readers.append((provider, reader))
        self._handler: logging.Handler | None = None
        root = logging.getLogger()
        if not any(isinstance(handler, LoggingHandler) for handler in root.handlers):
            self._handler = _Handler(logger_provider=self._providers.own_loggers, log_code_attributes=True)
            root.addHandler(self._handler)
        self._providers.recorder.send_to(self)

    def flush(self) -> None:
        """Sends what is waiting, and the metrics as they are now."""
        self.spans.force_flush(_FLUSH)
        self.logs.force_flush(_FLUSH)
        for _, reader in self._readers:
            reader.collect(_FLUSH)

    def stop(self) -> None:
        """Ends the threads; what was not flushed may be lost, and so may its database."""
        self._providers.recorder.send_no_more(self)
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        for provider, reader in self._readers:
            provider.remove_metric_reader(reader)
        self.spans.shutdown()  # type: ignore[no-untyped-call]
        self.logs.shutdown()  # type: ignore[no-untyped-call]


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment is not asked for what is on this machine
    return session


class _Handler(LoggingHandler):
    """The inherited `flush` starts a thread, which nothing here waits for."""

    def flush(self) -> None: ...


class _Reader(MetricReader):
    """Exports when it is flushed and at no other time: each collection adds a point to every series."""

    def __init__(self, exporter: OTLPMetricExporter) -> None:
        super().__init__()
        self._exporter = exporter

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._exporter.export(metrics_data, timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        self._exporter.shutdown(timeout_millis)


class _Spans(OTLPSpanExporter):
    def __init__(self, named: Resource, endpoint: str) -> None:
        super().__init__(endpoint=endpoint, session=_session())
        self._named = named

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        return super().export([self._under_its_name(span) for span in spans])

    def _under_its_name(self, span: ReadableSpan) -> ReadableSpan:
        renamed = copy.copy(span)  # with its counts of what was dropped, which no constructor takes
        renamed._resource = span.resource.merge(self._named)
        return renamed


class _Logs(OTLPLogExporter):
    def __init__(self, named: Resource, endpoint: str) -> None:
        super().__init__(endpoint=endpoint, session=_session())
        self._named = named

    def export(self, batch: Sequence[ReadableLogRecord]) -> Any:
        return super().export(
            [dataclasses.replace(record, resource=record.resource.merge(self._named)) for record in batch]
        )


class _Metrics(OTLPMetricExporter):
    def __init__(self, named: Resource, endpoint: str) -> None:
        super().__init__(endpoint=endpoint, session=_session())
        self._named = named

    def export(self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **_: Any) -> Any:
        renamed = [
            dataclasses.replace(one, resource=one.resource.merge(self._named)) for one in metrics_data.resource_metrics
        ]
        return super().export(MetricsData(resource_metrics=renamed), timeout_millis)
