"""Ares OTel: OpenTelemetry in, plain PostgreSQL tables out.

What an application imports is here; everything behind it is loaded when it is first used.

PYTEST_DONT_REWRITE: pytest, which rewrites packages with plugins, shall not mind that this one is imported already, as
under `opentelemetry-instrument`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ares_otel.sdk.configure import Telemetry, configure
    from ares_otel.sdk.logger import Logger, get_logger
    from ares_otel.sdk.metrics import MetricsCollector

__version__ = "0.1.0"

__all__ = ["Logger", "MetricsCollector", "Telemetry", "__version__", "configure", "get_logger"]

_HOMES = {
    "Logger": "ares_otel.sdk.logger",
    "MetricsCollector": "ares_otel.sdk.metrics",
    "Telemetry": "ares_otel.sdk.configure",
    "configure": "ares_otel.sdk.configure",
    "get_logger": "ares_otel.sdk.logger",
}
"""Name → the module that has it. The command line imports this package too, and needs none of them."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ares_otel' has no attribute {name!r}")
    return getattr(import_module(home), name)
