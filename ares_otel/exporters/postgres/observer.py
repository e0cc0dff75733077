"""Turns what the storage tells into Ares's own metrics."""

from __future__ import annotations

from collections.abc import Mapping

from ares_otel.pipeline.telemetry import Telemetry


class TelemetryObserver:
    """A `StorageObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._batches = telemetry.gauge("ares_otel_writer_queue_batches")
        self._bytes = telemetry.gauge("ares_otel_writer_queue_bytes")
        self._commits = telemetry.counter("ares_otel_writer_commits")
        self._failures = telemetry.counter("ares_otel_writer_failures")
        self._rows = telemetry.counter("ares_otel_writer_rows")
        self._seconds = telemetry.histogram("ares_otel_writer_commit_seconds")
        self._replaced = telemetry.counter("ares_otel_replaced_characters")
        self._refused = telemetry.counter("ares_otel_ingest_rejected_items")
        self._fallbacks = telemetry.counter("ares_otel_encoder_fallbacks")
        self._partition_errors = telemetry.counter("ares_otel_partition_errors")

    def queued(self, batches: int, size: int) -> None:
        self._batches.set(batches)
        self._bytes.set(size)

    def committed(self, rows: Mapping[str, int], seconds: float) -> None:
        self._commits.inc()
        self._seconds.observe(seconds)
        for table, count in rows.items():
            self._rows.labels(table=table).inc(count)

    def failed(self, sqlstate: str) -> None:
        self._failures.labels(sqlstate_class=sqlstate[:2]).inc()

    def refused(self, signal: str, items: int) -> None:
        self._refused.labels(signal=signal).inc(items)

    def replaced(self, characters: Mapping[str, int]) -> None:
        for column, count in characters.items():
            self._replaced.labels(field=column).inc(count)

    def fell_back(self, reason: str) -> None:
        self._fallbacks.labels(reason=reason).inc()

    def partitions_failed(self) -> None:
        self._partition_errors.inc()
