"""Wires the job on roll-ups into a process: its setting, its metrics."""

from __future__ import annotations

import time

from ares_otel.cli.maintenance import retention_settings
from ares_otel.control.config_manager import ConfigManager
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.rollups.job import INTERVAL, Rollups
from ares_otel.storage.store import Store

SETTING = "rollups.interval_seconds"


def rollup_job(store: Store, manager: ConfigManager, telemetry: Telemetry, *, pooled: bool) -> Rollups:
    """The job, not started; it follows the settings `rollups.*` and `retention.*` of `ares-api`."""
    job = Rollups(
        store.connect,
        interval=lambda: manager.get_float(SETTING, INTERVAL),
        retention=lambda: retention_settings(manager),
        observer=TelemetryRollupObserver(telemetry),
        pooled=pooled,
    )
    manager.on_change("rollups.*", lambda change: job.wake())
    return job


class TelemetryRollupObserver:
    """A `RollupObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._merged_all_at: float | None = None
        telemetry.gauge("ares_otel_rollup_lag_seconds").set_function(self._lag)

    def _lag(self) -> float:
        return 0.0 if self._merged_all_at is None else time.monotonic() - self._merged_all_at

    def waiting(self, table: str, rows: int) -> None:
        self._telemetry.gauge("ares_otel_rollup_waiting_rows").labels(table=table).set(rows)

    def merged(self, table: str, rows: int, seconds: float) -> None:
        self._telemetry.counter("ares_otel_rollup_merged_rows").labels(table=table).inc(rows)
        self._telemetry.histogram("ares_otel_rollup_merge_seconds").observe(seconds)

    def refused(self, rows: int) -> None:
        self._telemetry.counter("ares_otel_metric_deltas_refused").inc(rows)

    def merged_all(self) -> None:
        self._merged_all_at = time.monotonic()

    def elsewhere(self) -> None:
        self._merged_all_at = None

    def edges_found(self, seconds: float) -> None:
        self._telemetry.histogram("ares_otel_rollup_edges_seconds").observe(seconds)

    def edges_waiting(self, minutes: int) -> None:
        self._telemetry.gauge("ares_otel_rollup_edges_waiting_minutes").set(minutes)

    def pruned(self, table: str, rows: int) -> None:
        self._telemetry.counter("ares_otel_pruned_rows").labels(table=table).inc(rows)

    def failed(self, step: str) -> None:
        self._telemetry.counter("ares_otel_rollup_failures").labels(step=step).inc()
