"""Metrics into PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import Aggregation

from ares_otel.model.signal import METRICS
from ares_otel.sdk.direct.bounds import Limits
from ares_otel.sdk.direct.encode import encode_metrics
from ares_otel.sdk.direct.exporter import DirectExporter
from ares_otel.sdk.direct.preferences import aggregation, temporality


class PostgresMetricExporter(DirectExporter, MetricExporter):
    """Stores data points in `metric_samples` and `metric_distributions`, as a server of Ares does with those that come
    by OTLP."""

    def __init__(
        self,
        database_url: str | None = None,
        *,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Aggregation] | None = None,
        meter_provider: MeterProvider | None = None,
        **limits: Unpack[Limits],
    ) -> None:
        """Does no I/O. Arguments and errors are those of `PostgresSpanExporter`, and:

        Args:
            preferred_temporality: by class of instrument, over what `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`
                says.
            preferred_aggregation: the same over `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
        """
        MetricExporter.__init__(self, temporality(preferred_temporality), aggregation(preferred_aggregation))
        DirectExporter.__init__(self, METRICS, database_url, meter_provider, limits)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        """SUCCESS: they wait to be stored. FAILURE: they were dropped, or those of them that cannot be encoded,
        and are counted in `stats()`."""
        taken = self._hand_over(encode_metrics, metrics_data, _points(metrics_data), _metric_by_metric)
        return MetricExportResult.SUCCESS if taken else MetricExportResult.FAILURE


def _points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _metric_by_metric(data: MetricsData) -> Iterator[tuple[MetricsData, int]]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                one = replace(resource, scope_metrics=[replace(scope, metrics=[metric])])
                yield MetricsData([one]), len(metric.data.data_points)
