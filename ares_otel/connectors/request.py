"""Metrics requests out of series."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, ScopeMetrics

from ares_otel.connectors.points import Point
from ares_otel.connectors.series import Family, Group


def metrics_request(
    scope_name: str,
    series: Iterable[tuple[Group, Family, Point, int]],
    temporality: AggregationTemporality.ValueType,
    now_ns: int,
) -> ExportMetricsServiceRequest:
    """A request with one data point for each series; series of one resource and metric must follow each other.

    Args:
        series: each with the start of its data point, nanoseconds since 1970.
        now_ns: the time of all data points.
    """
    request = ExportMetricsServiceRequest()
    last_group: Group | None = None
    last_family: Family | None = None
    scope = ScopeMetrics()
    metric = Metric()
    for group, family, point, start_ns in series:
        if group is not last_group:
            resource = request.resource_metrics.add()
            resource.resource.attributes.extend(group.attributes)
            scope = resource.scope_metrics.add()
            scope.scope.name = scope_name
            last_group, last_family = group, None
        if family is not last_family:
            metric = scope.metrics.add(name=family.name, unit=family.unit)
            last_family = family
        point.write(metric, temporality, start_ns, now_ns)
    return request
