"""Wires the job on the index of series for Prometheus into a process: its settings, its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ares_otel.control.config.schema import ARES, KNOWN
from ares_otel.control.config_manager import ConfigManager
from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.query.prometheus.index_job import SeriesIndex
from ares_otel.storage.store import Store

SECTION = "prometheus."


def series_index(store: Store, manager: ConfigManager, telemetry: Telemetry, *, pooled: bool) -> SeriesIndex:
    """The job, not started; it follows the settings `prometheus.*` of `ares-api`."""
    job = SeriesIndex(
        store.connect, options=lambda: _options(manager), observer=TelemetryIndexObserver(telemetry), pooled=pooled
    )
    manager.on_change(f"{SECTION}*", lambda change: job.wake())
    return job


def _options(manager: ConfigManager) -> dict[str, Any] | None:
    """Those that are set; None as long as nobody knows."""
    if not math.isfinite(manager.age_seconds):
        return None
    names = [field.name for field in fields(TranslationConfig) if (ARES, SECTION + field.name) in KNOWN]
    return {name: manager.get_json(SECTION + name) for name in names if manager.version(SECTION + name)}


class TelemetryIndexObserver:
    """An `IndexObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def series(self, counts: Mapping[str, int]) -> None:
        for state in ("indexed", "deltas", "untranslatable"):
            gauge = self._telemetry.gauge("ares_otel_prometheus_index_series")
            gauge.labels(state=state).set(counts.get(state, 0))

    def translated(self, series: int) -> None:
        self._telemetry.counter("ares_otel_prometheus_index_translated_series").inc(series)

    def failed(self) -> None:
        self._telemetry.counter("ares_otel_prometheus_index_failures").inc()
