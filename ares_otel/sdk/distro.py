"""`opentelemetry-instrument` with Ares: the entry points `opentelemetry_distro` and `opentelemetry_configurator`.

Where Ares is merely installed, both do what `opentelemetry-distro` does and nothing else. They do what `configure()`
does where one of Ares's variables asks for it.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.util._importlib_metadata import EntryPoint

_DEFAULTS = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
}
"""What `opentelemetry-distro` sets where nothing else is said."""

_OURS = ("ARES_OTEL_API_URL", "ARES_OTEL_DATABASE_URL")
_CHOOSING = ("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR")
_EXPORTING = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")


def wanted() -> bool:
    """Whether a variable asks for Ares, and not only for OpenTelemetry."""
    return (
        any(os.environ.get(name) for name in _OURS)
        or any(os.environ.get(name) == "ares" for name in _CHOOSING)
        or any("ares_postgres" in os.environ.get(name, "") for name in _EXPORTING)
    )


class AresDistro(BaseDistro):  # type: ignore[misc]
    """Defaults of the variables, and how instrumentations are switched on."""

    def _configure(self, **kwargs: Any) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Switches an instrumentation on; where Ares is asked for, with what `configure(instrument=…)` gives it."""
        if wanted():
            from ares_otel.sdk.instrument import arguments  # not before it is known to be needed

            kwargs = {**arguments(entry_point.name), **kwargs}
        super().load_instrumentor(entry_point, **kwargs)


class AresConfigurator(_OTelSDKConfigurator):
    """The SDK's configurator, or `configure()` where Ares is asked for."""

    def _configure(self, **kwargs: Any) -> None:
        if not wanted():
            super()._configure(**kwargs)  # type: ignore[no-untyped-call]
            return
        from ares_otel.sdk.configure import set_up_for_the_process

        set_up_for_the_process(kwargs.get("auto_instrumentation_version"))
