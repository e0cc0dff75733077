"""The SDK's metrics as those that a test reads."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Metric, Sum

from ares_otel.testing.captured_metric import CapturedMetric, CapturedPoint
from ares_otel.testing.meters import Meters, since, unmoved


def captured(meters: Meters, name: str | None = None, scope: str | None = None) -> list[CapturedMetric]:
    """All metrics, or those of a name and a scope. The same name and kind in several scopes is one metric."""
    found: dict[tuple[str, str, str], CapturedMetric] = {}
    for in_scope, metric, before in meters.read():
        if (name is not None and metric.name != name) or (scope is not None and in_scope != scope):
            continue
        # An observable counter that has not moved recorded nothing in this test.
        points = [
            _point(in_scope, metric, point, before)
            for point in metric.data.data_points
            if not unmoved(in_scope, metric, point, before)
        ]
        if not points:
            continue
        unit = metric.unit or ""
        one = CapturedMetric(metric.name, _kind(metric), unit, metric.description or "", points)
        known = found.setdefault((one.name, one.kind, unit), one)
        if known is not one:
            known.points.extend(points)
    return list(found.values())


def _kind(metric: Metric) -> str:
    match metric.data:
        case Sum(is_monotonic=True):
            return "counter"
        case Sum():
            return "up_down_counter"
        case Gauge():
            return "gauge"
        case Histogram():
            return "histogram"
        case ExponentialHistogram():
            return "exponential_histogram"
    raise TypeError(type(metric.data))


def _point(scope: str, metric: Metric, point: Any, before: Any) -> CapturedPoint:
    attributes = dict(point.attributes or {})
    match metric.data:
        case Sum(is_monotonic=True):
            return CapturedPoint(attributes, since(scope, metric, point, before), raw=point)
        case Histogram():
            return CapturedPoint(
                attributes,
                count=point.count,
                sum=point.sum,
                min=point.min,
                max=point.max,
                bounds=point.explicit_bounds,
                buckets=point.bucket_counts,
                raw=point,
            )
        case ExponentialHistogram():
            return CapturedPoint(attributes, count=point.count, sum=point.sum, min=point.min, max=point.max, raw=point)
    return CapturedPoint(attributes, point.value, raw=point)
