"""The exporter's own metrics, as the semantic conventions name them (OpenTelemetry SDK metrics: `otel.sdk.exporter.*`)."""

from __future__ import annotations

import itertools
import os
from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.sdk.environment_variables import OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED

from ares_otel.model.signal import LOGS, TRACES, Signal

_numbers = {name: itertools.count() for name in ("traces", "logs", "metrics")}


class SelfMetrics:
    """Counts nothing unless `OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true`, as the official exporters."""

    def __init__(self, signal: Signal, meter_provider: MeterProvider | None = None) -> None:
        self._on = os.environ.get(OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED, "").strip().lower() == "true"
        if not self._on:
            return
        what = {TRACES: "span", LOGS: "log"}.get(signal, "metric_data_point")
        unit = {TRACES: "{span}", LOGS: "{log_record}"}.get(signal, "{data_point}")
        kind = f"ares_postgres_{ {TRACES: 'span', LOGS: 'log'}.get(signal, 'metric') }_exporter"
        self._labels: dict[str, Any] = {
            "otel.component.type": kind,
            "otel.component.name": f"{kind}/{next(_numbers[signal.name])}",
        }
        meter = (meter_provider or get_meter_provider()).get_meter("opentelemetry-sdk")
        self._inflight = meter.create_up_down_counter(
            f"otel.sdk.exporter.{what}.inflight", unit=unit, description="Handed to the exporter, not stored yet."
        )
        self._exported = meter.create_counter(
            f"otel.sdk.exporter.{what}.exported", unit=unit, description="Export finished, successful or failed."
        )
        self._duration = meter.create_histogram(
            "otel.sdk.exporter.operation.duration", unit="s", description="From the hand-over to the answer."
        )

    def started(self, items: int) -> None:
        """So many items were handed over."""
        if self._on:
            self._inflight.add(items, self._labels)

    def ended(self, items: int, seconds: float, error: str) -> None:
        """They were stored, or, with the reason as `error.type`, not."""
        if self._on:
            labels = {**self._labels, "error.type": error} if error else self._labels
            self._inflight.add(-items, self._labels)
            self._exported.add(items, labels)
            self._duration.record(seconds, labels)
