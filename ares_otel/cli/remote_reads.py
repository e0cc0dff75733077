"""Wires remote reads into a process: their bounds, their metrics."""

from __future__ import annotations

from ares_otel.api.routers.remote_read import ReadLimits, RemoteReads
from ares_otel.cli.options import UpOptions
from ares_otel.pipeline.telemetry import Telemetry


def remote_reads(options: UpOptions, telemetry: Telemetry) -> RemoteReads:
    """As the command line says."""
    return RemoteReads(ReadLimits(max_samples=options.query_max_samples), TelemetryReadObserver(telemetry))


class TelemetryReadObserver:
    """A `ReadObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._requests = telemetry.counter("ares_otel_remote_read_requests")
        self._series = telemetry.counter("ares_otel_remote_read_series")
        self._samples = telemetry.counter("ares_otel_remote_read_samples")
        self._seconds = telemetry.histogram("ares_otel_remote_read_seconds")

    def ended(self, outcome: str) -> None:
        self._requests.labels(outcome=outcome).inc()

    def read(self, series: int, samples: int, seconds: float) -> None:
        self._series.inc(series)
        self._samples.inc(samples)
        self._seconds.observe(seconds)
