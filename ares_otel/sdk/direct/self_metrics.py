"""The exporter's own metrics, `otel.sdk.exporter.*`.

Source: OpenTelemetry semantic conventions, "Semantic conventions for OpenTelemetry SDK metrics".
"""

from __future__ import annotations

import itertools
import os
from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.sdk.environment_variables import OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

_NAMES = {
    TRACES: ("span", "{span}", "ares_postgres_span_exporter"),
    LOGS: ("log", "{log_record}", "ares_postgres_log_exporter"),
    METRICS: ("metric_data_point", "{data_point}", "ares_postgres_metric_exporter"),
}
"""What is counted, its unit, and `otel.component.type`."""
_numbers = {signal: itertools.count() for signal in _NAMES}


class SelfMetrics:
    """Counts nothing unless `OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true`, as the official exporters."""

    def __init__(self, signal: Signal, meter_provider: MeterProvider | None = None) -> None:
        self._on = os.environ.get(OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED, "").strip().lower() == "true"
        if not self._on:
            return
        what, unit, kind = _NAMES[signal]
        self._labels: dict[str, Any] = {
            "otel.component.type": kind,
            "otel.component.name": f"{kind}/{next(_numbers[signal])}",
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
