"""A metric exporter for the SDK that is two: what one reader collects goes by OTLP and straight into PostgreSQL.

Two readers would collect at two moments, and their points have other times. It is found by name, as anybody's exporter
is (`OTEL_METRICS_EXPORTER=both_ways`), once `installed` has made a distribution of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from ares_otel.sdk.direct import PostgresMetricExporter

NAME = "both_ways"


class BothWays(MetricExporter):
    """OTLP, as the variables say, and `ares_postgres`."""

    def __init__(self) -> None:
        super().__init__()
        self._exporters: tuple[MetricExporter, ...] = (OTLPMetricExporter(), PostgresMetricExporter())

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        results = [one.export(metrics_data, timeout_millis, **options) for one in self._exporters]
        return max(results, key=lambda result: result.value)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporters[0].force_flush(timeout_millis) and self._exporters[1].force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        for one in self._exporters:
            one.shutdown(timeout_millis, **options)


def installed(folder: Path) -> str:
    """A path of modules (`PYTHONPATH`) on which the exporter is an installed distribution."""
    about = folder / "both_ways-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: both-ways\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[opentelemetry_metrics_exporter]\n{NAME} = {__name__}:BothWays\n")
    return str(folder)
