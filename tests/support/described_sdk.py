"""What a configuration of the OpenTelemetry SDK came to, as plain values that can be compared."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import metrics, propagate, trace
from opentelemetry._logs import get_logger_provider

# What Ares adds to every resource, and what differs between any two processes.
_ADDED = ("telemetry.distro.", "host.", "process.")
_OWN = "service.instance.id"


def described() -> dict[str, Any]:
    """The global providers and propagators of this process."""
    tracers: Any = trace.get_tracer_provider()
    meters: Any = metrics.get_meter_provider()
    loggers: Any = get_logger_provider()
    spans = tracers._active_span_processor._span_processors
    logs = loggers._multi_log_record_processor._log_record_processors
    with_instance = {"service.instance.id"} if os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").count(_OWN) else set()
    return {
        "resource": {
            name: str(value)
            for name, value in tracers.resource.attributes.items()
            if not name.startswith(_ADDED) and (name != _OWN or with_instance)
        },
        "same resource": tracers.resource.attributes
        == loggers.resource.attributes
        == meters._sdk_config.resource.attributes,
        "sampler": tracers.sampler.get_description(),
        "ids": type(tracers.id_generator).__name__,
        "limits": repr(tracers._span_limits),
        "log limits": {name: repr(value) for name, value in vars(loggers._log_record_limits).items()},
        "disabled": [tracers._disabled, meters._disabled, loggers._disabled],
        "configurators": [
            provider.__name__
            for provider in (tracers._tracer_configurator, meters._meter_configurator, loggers._logger_configurator)
        ],
        "exemplars": type(meters._sdk_config.exemplar_filter).__name__,
        "spans": [_processor(processor) for processor in spans],
        "logs": [_processor(processor) for processor in logs],
        "metrics": [_reader(reader) for reader in meters._metric_readers],
        "propagators": [type(one).__name__ for one in getattr(propagate.get_global_textmap(), "_propagators", [])],
    }


def _processor(processor: Any) -> dict[str, Any]:
    batch = processor._batch_processor
    return {
        "class": type(processor).__name__,
        "queue": batch._max_queue_size,
        "batch": batch._max_export_batch_size,
        "delay": batch._schedule_delay_millis,
        "timeout": batch._export_timeout_millis,
        "exporter": _exporter(batch._exporter),
    }


def _reader(reader: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"class": type(reader).__name__}
    if hasattr(reader, "_exporter"):
        found["interval"] = reader._export_interval_millis
        found["timeout"] = reader._export_timeout_millis
        found["exporter"] = _exporter(reader._exporter)
        found["temporality"] = {
            kind.__name__: str(value) for kind, value in reader._instrument_class_temporality.items()
        }
        found["aggregation"] = {
            kind.__name__: type(value).__name__ for kind, value in reader._instrument_class_aggregation.items()
        }
    return found


def _exporter(exporter: Any) -> dict[str, Any]:
    """Its class and every setting that is a plain value."""
    plain = {
        name: value for name, value in vars(exporter).items() if isinstance(value, str | int | float | bool | None)
    }
    headers = getattr(exporter, "_headers", None)
    client = getattr(exporter, "_client", None)
    return {
        "class": f"{type(exporter).__module__}.{type(exporter).__name__}",
        "headers": sorted(map(list, dict(headers).items())) if headers else [],
        "compression": str(getattr(exporter, "_compression", None)),
        **({"client": _exporter_client(client)} if client is not None else {}),
        **plain,
    }


def _exporter_client(client: Any) -> dict[str, Any]:
    return {
        name: str(value)
        for name, value in sorted(getattr(client, "__dict__", {}).items())
        if isinstance(value, str | int | float | bool | dict | None)
    }
