"""A small shop that sends real telemetry: four FastAPI services, each a process of its own, instrumented with the
official OpenTelemetry SDK. It knows Ares only as an OTLP address, as any other application would."""

from ares_otel.demo.queries import queries
from ares_otel.demo.shop import DemoShop, ShopError

__all__ = ["DemoShop", "ShopError", "queries"]
