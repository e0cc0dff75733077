"""Instrumentations of libraries and of the application's framework, as OpenTelemetry ships them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from opentelemetry.instrumentation.bootstrap_gen import libraries
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._importlib_metadata import entry_points

LOG = logging.getLogger(__name__)

_GROUP = "opentelemetry_instrumentor"
_PACKAGE = "opentelemetry-instrumentation-"

_FRAMEWORKS = {"fastapi": "FastAPIInstrumentor", "starlette": "StarletteInstrumentor", "flask": "FlaskInstrumentor"}
"""Package of the class of an application → the instrumentor in `opentelemetry.instrumentation.…`."""

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "fastapi": {"exclude_spans": ["receive", "send"]},  # a span for each message of ASGI tells nobody anything
    # The records themselves go out through the handler; this puts the ids into what the console prints.
    "logging": {"enable_log_auto_instrumentation": False, "inject_trace_context": True},
}


def arguments(name: str) -> dict[str, Any]:
    """What an instrumentation is given beside the providers."""
    return dict(_ARGUMENTS.get(name, {}))


def check(asked: Iterable[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        ValueError: OpenTelemetry has no such instrumentation, and none of that name is installed.
        TypeError: a single string, whose letters would be taken for names.
    """
    if isinstance(asked, str):
        raise TypeError(f"instrument= takes several names: write instrument=({asked!r},).")
    names = tuple(dict.fromkeys(asked))
    for name in names:
        if not _installed(name) and _plain(name) not in _known():
            there = ", ".join(sorted({point.name for point in entry_points(group=_GROUP)}))
            raise ValueError(f"instrument={name!r} is no instrumentation of OpenTelemetry. Installed are: {there}.")
    return names


def library(name: str, tracers: TracerProvider, meters: MeterProvider) -> None:
    """Switches an instrumentation on. Says so where that is not possible, and does nothing where it is on already or
    `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` names it."""
    disabled = {_plain(one.strip()) for one in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")}
    if disabled & {"*", _plain(name)}:
        LOG.info("%s is not instrumented, as %s says", name, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS)
        return
    points = list(entry_points(group=_GROUP, name=name)) or list(entry_points(group=_GROUP, name=_other(name)))
    if not points:
        LOG.warning("%s is not instrumented: pip install %s%s", name, _PACKAGE, _plain(name))
        return
    if name == "django" and not _django_has_settings():
        LOG.warning("django is not instrumented, its settings are not known yet: set DJANGO_SETTINGS_MODULE first")
        return
    try:
        instrumentor = points[0].load()()
        if instrumentor.is_instrumented_by_opentelemetry:
            LOG.info("%s is instrumented already; it stays as it is", name)
            return
        instrumentor.instrument(
            tracer_provider=tracers,
            meter_provider=meters,
            raise_exception_on_conflict=True,
            **arguments(name),
        )
    except (DependencyConflictError, ImportError) as error:
        missing = error.conflict if isinstance(error, DependencyConflictError) else error
        LOG.warning("%s is not instrumented, its library is missing: pip install %s (%s)", name, _plain(name), missing)


def framework(app: Any) -> str:
    """Which framework an application is of: `fastapi`, `starlette` or `flask`.

    Raises:
        TypeError: none of them.
    """
    for kind in type(app).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _FRAMEWORKS:
            return package
    raise TypeError(
        f"app={type(app).__name__} is not an application of FastAPI, Starlette or Flask. "
        "Wrap others with the middleware of their OpenTelemetry instrumentation."
    )


def application(app: Any, tracers: TracerProvider, meters: MeterProvider) -> None:
    """Instruments an application: a span and metrics for each request. Once: a second call leaves it as it is, and says
    so. `OTEL_PYTHON_EXCLUDED_URLS` and `OTEL_PYTHON_FASTAPI_EXCLUDED_URLS` leave requests out.

    Raises:
        TypeError: an application of another kind.
    """
    name = framework(app)
    if getattr(app, "_is_instrumented_by_opentelemetry", False):
        LOG.info("this %s application is instrumented already; it stays as it is", name)
        return
    try:
        module = import_module(f"opentelemetry.instrumentation.{name}")
    except ImportError:
        LOG.warning("the application is not instrumented: pip install %s%s", _PACKAGE, name)
        return
    instrumentor = getattr(module, _FRAMEWORKS[name])
    instrumentor.instrument_app(app, tracer_provider=tracers, meter_provider=meters, **arguments(name))


def _django_has_settings() -> bool:
    """Where there are none, the instrumentation gives Django empty ones, which then stay."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        return True
    try:
        return bool(import_module("django.conf").settings.configured)
    except ImportError:
        return True  # that Django is missing is said where it is looked for


def _installed(name: str) -> bool:
    return any(_plain(point.name) == _plain(name) for point in entry_points(group=_GROUP))


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()


def _other(name: str) -> str:
    return name.replace("-", "_") if "-" in name else name.replace("_", "-")


def _known() -> set[str]:
    """Names of the instrumentations that OpenTelemetry has for libraries."""
    packages = (re.split(r"[=<>~ ]", entry["instrumentation"], maxsplit=1)[0] for entry in libraries)
    return {package.removeprefix(_PACKAGE) for package in packages} | {
        "logging",
        "threading",
        "urllib",
        "sqlite3",
        "asyncio",
    }
