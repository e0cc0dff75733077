"""The three providers, built as the SDK's own configurator builds them from `OTEL_*`, with Ares's parts put in.

Exporters, sampler, id generator and configurators are looked up by the SDK's code (`opentelemetry.sdk._configuration`),
so that a variable means here what it means there; limits, intervals and queues are read by the SDK's classes
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.sdk import _configuration as official
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler, _get_from_env_or_default
from opentelemetry.util._importlib_metadata import entry_points

from ares_otel.sdk.options import Options

SIGNALS = ("traces", "metrics", "logs")
STRAIGHT = "ares_postgres"

_OTLP = ("otlp_proto_grpc", "otlp_proto_http")


class Steering(Protocol):
    """What remote control puts into the providers."""

    def sampler(self, base: Sampler) -> Sampler: ...

    def span_processor(self) -> SpanProcessor: ...

    def log_record_processor(self) -> LogRecordProcessor: ...

    def metric_reader(
        self, exporter: MetricExporter, interval_millis: float | None = None, timeout_millis: float | None = None
    ) -> MetricReader: ...

    def observe(self, meter_provider: MeterProvider) -> None: ...


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers, and what of them ends and forks with the process."""

    traces: TracerProvider
    metrics: MeterProvider
    logs: LoggerProvider
    batches: tuple[BatchSpanProcessor | BatchLogRecordProcessor, ...] = ()
    readers: tuple[MetricReader, ...] = ()
    exporters: tuple[Any, ...] = ()
    """Those of OTLP."""
    connections: tuple[Callable[[], None], ...] = ()
    """Each makes one of them anew, in place, on a connection of its own."""
    silent: bool = False
    """Whether log records go nowhere."""


def adopted() -> Providers | None:
    """The providers that somebody has set for the process (`opentelemetry-instrument`, a test); None: nobody has."""
    traces = trace.get_tracer_provider()
    if not isinstance(traces, TracerProvider):
        return None
    meters, loggers = metrics.get_meter_provider(), get_logger_provider()
    return Providers(
        traces,
        meters
        if isinstance(meters, MeterProvider)
        else MeterProvider(resource=traces.resource, shutdown_on_exit=False),
        loggers if isinstance(loggers, LoggerProvider) else LoggerProvider(traces.resource, shutdown_on_exit=False),
        silent=not isinstance(loggers, LoggerProvider),
    )


def disabled() -> bool:
    """Whether the SDK is switched off (`OTEL_SDK_DISABLED`)."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def choose(options: Options) -> dict[str, list[str]]:
    """Exporters of each signal, by their entry points: as the code says, else `OTEL_{SIGNAL}_EXPORTER`, else OTLP.
    `none` in the variable switches the signal off whatever the code says.

    Raises:
        ValueError: a variable names a protocol that OTLP does not have.
    """
    return {signal: _names(signal, options) for signal in SIGNALS}


def _names(signal: str, options: Options) -> list[str]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    said = os.environ.get(variable, "").strip()
    if said.lower() == "none":
        return []
    if options.straight:
        return [STRAIGHT]
    if options.exporter == "otlp" or options.endpoint is not None or not said:
        said = "otlp"
    try:
        return list(
            dict.fromkeys(_entry_point(name.strip(), signal, options) for name in said.split(",") if name.strip())
        )
    except RuntimeError as error:
        raise ValueError(f"{error}: OTEL_EXPORTER_OTLP_PROTOCOL takes grpc or http/protobuf.") from error


def build(
    options: Options, chosen: Mapping[str, list[str]], resource: Resource, steering: Steering | None
) -> Providers:
    """Builds the providers and makes them those of the process.

    Args:
        options: what the code says.
        chosen: exporters of each signal.
        resource: of all three.
        steering: remote control, if there is one.
    Raises:
        ValueError: a variable or an argument names an exporter that is not there.
    """
    try:
        spans, points, records = official._import_exporters(chosen["traces"], chosen["metrics"], chosen["logs"])
    except RuntimeError as error:
        raise ValueError(_unknown(chosen, error)) from error
    made = _Made(options)
    span_exporters = [(name, made.exporter(name, kind, "traces")) for name, kind in spans.items()]
    log_exporters = [(name, made.exporter(name, kind, "logs")) for name, kind in records.items()]
    readers = tuple(_reader(made, name, kind, steering) for name, kind in points.items())
    meters = MeterProvider(
        metric_readers=readers,
        resource=resource,
        shutdown_on_exit=False,
        _meter_configurator=official._import_meter_configurator(official._get_meter_configurator()),
    )

    sampler = official._import_sampler(official._get_sampler()) or _get_from_env_or_default()
    tracers = TracerProvider(
        sampler=steering.sampler(sampler) if steering else sampler,
        resource=resource,
        shutdown_on_exit=False,
        id_generator=official._import_id_generator(official._get_id_generator()),
        _tracer_configurator=official._import_tracer_configurator(official._get_tracer_configurator()),
    )
    loggers = LoggerProvider(
        resource=resource,
        shutdown_on_exit=False,
        _logger_configurator=official._import_logger_configurator(official._get_logger_configurator()),
    )
    if steering is not None:
        tracers.add_span_processor(steering.span_processor())
        loggers.add_log_record_processor(steering.log_record_processor())
        steering.observe(meters)
    span_batches = [_span_batch(name)(exporter) for name, exporter in span_exporters]
    log_batches = [_log_batch(name)(exporter) for name, exporter in log_exporters]
    for spans_out in span_batches:
        tracers.add_span_processor(spans_out)
    for logs_out in log_batches:
        loggers.add_log_record_processor(logs_out)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    set_logger_provider(loggers)
    return Providers(
        tracers, meters, loggers, (*span_batches, *log_batches), readers, tuple(made.otlp), tuple(made.connections)
    )


class _Made:
    """Makes exporters, and remembers how."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.otlp: list[Any] = []
        self.connections: list[Callable[[], None]] = []

    def exporter(self, name: str, kind: Callable[..., Any], signal: str) -> Any:
        arguments = self._arguments(name, signal)
        exporter = kind(**arguments)
        if name in _OTLP:
            self.otlp.append(exporter)
            self.connections.append(lambda: _again(exporter, arguments))
        return exporter

    def _arguments(self, name: str, signal: str) -> dict[str, Any]:
        if name == STRAIGHT and self._options.database_url is not None:
            return {"database_url": self._options.database_url}
        endpoint = self._options.otlp_endpoint
        if endpoint is None or name not in _OTLP:
            return {}
        return {"endpoint": endpoint if name == "otlp_proto_grpc" else f"{endpoint.rstrip('/')}/v1/{signal}"}


_parents: list[Mapping[str, Any]] = []
"""What the exporters of the process that forked this one held. Collecting it would close connections that both
share."""


def _again(exporter: Any, arguments: Mapping[str, Any]) -> None:
    _parents.append(dict(vars(exporter)))
    type(exporter).__init__(exporter, **arguments)


def _span_batch(exporter: str) -> type[BatchSpanProcessor]:
    if exporter != STRAIGHT:
        return BatchSpanProcessor
    from ares_otel.sdk.direct.processors import StoringSpanProcessor

    return StoringSpanProcessor


def _log_batch(exporter: str) -> type[BatchLogRecordProcessor]:
    if exporter != STRAIGHT:
        return BatchLogRecordProcessor
    from ares_otel.sdk.direct.processors import StoringLogRecordProcessor

    return StoringLogRecordProcessor


def _reader(made: _Made, name: str, kind: type[Any], steering: Steering | None) -> MetricReader:
    if issubclass(kind, MetricReader):  # one that is asked, as Prometheus's
        return kind()
    exporter = made.exporter(name, kind, "metrics")
    return steering.metric_reader(exporter) if steering else PeriodicExportingMetricReader(exporter)


def _entry_point(name: str, signal: str, options: Options) -> str:
    said = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if name == "otlp" and not said and options.speaks_http:
        return "otlp_proto_http"
    found: str = official._get_exporter_entry_point(name, signal)  # type: ignore[arg-type]
    return found


def _unknown(chosen: Mapping[str, list[str]], error: RuntimeError) -> str:
    there = sorted({point.name for point in entry_points(group="opentelemetry_traces_exporter")} | {"none"})
    variables = ", ".join(f"OTEL_{signal.upper()}_EXPORTER" for signal in SIGNALS)
    return f"{error}. {variables} name exporters that are installed; those of traces are {', '.join(there)}."
