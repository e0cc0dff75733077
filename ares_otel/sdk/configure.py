"""`configure()`: OpenTelemetry set up for an application, by one call."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.environment_variables import OTEL_CONFIG_FILE, OTEL_SERVICE_NAME

from ares_otel.sdk import handler as handlers
from ares_otel.sdk import instrument as instrumentation
from ares_otel.sdk import providers as building
from ares_otel.sdk import resource as resources
from ares_otel.sdk.control import Control
from ares_otel.sdk.options import Options
from ares_otel.sdk.providers import Providers
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
    """Sets OpenTelemetry up for this process: traces, metrics and logs, sent until the process ends; once, however
    often it is called. Whatever is not said here is what the `OTEL_*` variables say.

    Args:
        service_name: `service.name`; None: `OTEL_SERVICE_NAME`.
        service_version: `service.version`.
        service_namespace: `service.namespace`.
        environment: `deployment.environment.name`, such as `production`.
        resource_attributes: more attributes of the resource; they win over `OTEL_RESOURCE_ATTRIBUTES`.
        app: a FastAPI, Starlette or Flask application whose requests become spans and metrics.
        instrument: names of instrumentations to switch on, such as `asyncpg`, `httpx`, `redis`, `logging`.
        exporter: `otlp`, or `ares_postgres` straight into PostgreSQL; None: `OTEL_TRACES_EXPORTER`,
        `OTEL_LOGS_EXPORTER` and
            `OTEL_METRICS_EXPORTER`, else OTLP. A variable that is `none` switches its signal off all the same.
        endpoint: base URL of the OTLP receiver, such as `http://localhost:4317`; with port 4318 over HTTP, where no
        variable
            names a protocol.
        database_url: of the PostgreSQL to write into; nothing is sent to an OTLP receiver then.
        api_url: of Ares's API, for settings and the registry; None: `ARES_OTEL_API_URL`, else port 8080 of the OTLP
            receiver's host, else the database that is written into.
        remote_config: whether settings of the configuration service apply while the process runs.
        registry: whether the process registers itself, and says every now and then that it is there.
        port: that the service listens on, for the registry.
        health_url: that the registry may ask how the service is.
        metadata: for the registry.
        log_level: of the root logger; None: as it is, or INFO where nobody has configured `logging`.
    Raises:
        ValueError: arguments contradict each other, or name an exporter or instrumentation that does not exist.
        TypeError: `app` is no application that can be instrumented.
    """
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
    if app is not None:
        instrumentation.framework(app)
    if log_level is not None:
        handlers.level_of(log_level)
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
    if _current.ended:
        LOG.warning(
            "telemetry was shut down, and OpenTelemetry's providers are set once in a process: nothing is sent any more"
        )
    described = resources.ATTRIBUTES.keys()
    different = [name for name in _current.options.differences(options) if name not in described]
    _say_what_comes_too_late(resources.unheard(options, _current.resource) + different)
    return _current


def _say_what_comes_too_late(arguments: list[str]) -> None:
    if arguments:
        LOG.warning(
            "OpenTelemetry was set up before this call of configure(), of which this is without effect: %s. "
            "Say it in the first call, or in variables such as %s",
            ", ".join(arguments),
            OTEL_SERVICE_NAME,
        )


def set_up_for_the_process(auto_version: str | None) -> None:
    """`configure()` for `opentelemetry-instrument`: the variables say everything.

    Args:
        auto_version: of `opentelemetry-instrument`.
    """
    with _lock:
        options = Options()
        if _present(options) is None:
            _set_up(options, auto_version)


def _set_up(options: Options, auto_version: str | None = None) -> Telemetry:
    global _current
    if _current is not None:  # its providers are not those of the process any more, as between tests
        _current.let_go()
    if os.environ.get(OTEL_CONFIG_FILE) and building.adopted() is None:
        _Declared().configure()  # type: ignore[no-untyped-call]
    found = building.adopted()
    _current = _take_over(options, found) if found is not None else _build(options, auto_version)
    return _current


def _build(options: Options, auto_version: str | None) -> Telemetry:
    resource = resources.build(options, auto_version)
    named = not str(resource.attributes["service.name"]).startswith("unknown_service")
    if not named:
        LOG.warning("the service has no name: call configure('orders'), or set %s", OTEL_SERVICE_NAME)
    chosen = building.choose(options)
    control = None
    built: list[Providers] = []
    if named and not building.disabled():
        straight = any(building.STRAIGHT in names for names in chosen.values())
        control = Control(options, lambda: built[0].traces.resource if built else resource, straight)
    built.append(building.build(options, chosen, resource, control.remote if control is not None else None))
    return Telemetry(options, built[0], control, adopted=False)


def _take_over(options: Options, found: Providers) -> Telemetry:
    """Providers that somebody else has set. Settings and the registry are used where they are asked for by name."""
    LOG.info("OpenTelemetry is set up already: its providers are used, and nothing is exported twice")
    _say_what_comes_too_late(resources.unheard(options, found.traces.resource))
    control = None
    if not building.disabled() and (options.api_url or os.environ.get("ARES_OTEL_API_URL") or options.database_url):
        control = Control(options, lambda: found.traces.resource, options.straight)
        if control.remote is not None:
            found.traces.add_span_processor(control.remote.span_processor())
            control.remote.observe(found.metrics)
    return Telemetry(options, found, control, adopted=True)


class _Declared(_OTelSDKConfigurator):
    """The SDK's configurator, for `OTEL_CONFIG_FILE`."""


def _forked() -> None:
    global _lock
    _lock = threading.RLock()  # the old one may have been held by a thread that is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
