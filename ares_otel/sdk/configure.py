"""`configure()`: OpenTelemetry set up for an application, by one call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME

from ares_otel.sdk import instrument as instrumentation
from ares_otel.sdk import providers as building
from ares_otel.sdk import resource as resources
from ares_otel.sdk.options import Options
from ares_otel.sdk.telemetry import Telemetry

__all__ = ["Telemetry", "configure"]

LOG = logging.getLogger(__name__)

_lock = threading.RLock()
_current: Telemetry | None = None


def configure(
    service_name: str | None = None,
    *,
    service_version: str | None = None,
    service_namespace: str | None = None,
    environment: str | None = None,
    resource_attributes: Mapping[str, Any] | None = None,
    app: Any = None,
    instrument: Iterable[str] = (),
    exporter: Literal["otlp", "ares_postgres"] | None = None,
    endpoint: str | None = None,
    database_url: str | None = None,
    api_url: str | None = None,
    remote_config: bool = True,
    registry: bool = True,
    port: int | None = None,
    health_url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    log_level: str | int | None = None,
) -> Telemetry:
    options = Options(
        service_name=service_name,
        service_version=service_version,
        service_namespace=service_namespace,
        environment=environment,
        resource_attributes=dict(resource_attributes or {}),
        exporter=exporter,
        endpoint=endpoint,
        database_url=database_url,
        api_url=api_url,
        remote_config=remote_config,
        registry=registry,
        port=port,
        health_url=health_url,
        metadata=metadata,
        log_level=log_level,
    )
    libraries = instrumentation.check(instrument)
    with _lock:
        telemetry = _present(options) or _set_up(options)
        for name in libraries:
            instrumentation.library(name, telemetry.tracer_provider, telemetry.meter_provider)
        if app is not None:
            instrumentation.application(app, telemetry.tracer_provider, telemetry.meter_provider)
    return telemetry


def _present(options: Options) -> Telemetry | None:
    """What an earlier call set up, while its providers are those of the process."""
    if _current is None or trace.get_tracer_provider() is not _current.tracer_provider:
        return None
    different = _current.options.differences(options)
    if different:
        LOG.warning(
            "configure() was called before; what this call says differently is without effect: %s", ", ".join(different)
        )
    return _current


def _set_up(options: Options) -> Telemetry:
    global _current
    found = building.adopted()
    if found is not None:
        LOG.info("OpenTelemetry is set up already: its providers are used, and nothing is exported twice")
        telemetry = Telemetry(options, found, adopted=True)
    else:
        resource = resources.build(options)
        telemetry = Telemetry(options, building.build(options, resource, None), adopted=False)
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            LOG.warning("the service has no name: call configure('orders'), or set %s", OTEL_SERVICE_NAME)
    _current = telemetry
    return telemetry
