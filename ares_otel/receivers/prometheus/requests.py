"""Metrics requests out of data points: at most so many in each."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric, ScopeMetrics

from ares_otel.model.prometheus.verbatim import METADATA_TYPE, SCOPE_NAME, resource_of
from ares_otel.receivers.prometheus.page import Exemplar
from ares_otel.receivers.prometheus.streams import MetricOf, Stream

REQUEST_POINTS = 10_000
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_ABSENT = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_MS = 1_000_000


class Requests:
    """Collects data points. A metric of one resource stands once in a request."""

    def __init__(self) -> None:
        self.made: list[tuple[ExportMetricsServiceRequest, int]] = []
        """Requests, and how many points each has."""
        self._scopes: dict[tuple[str, str], ScopeMetrics] = {}
        self._metrics: dict[tuple[tuple[str, str], MetricOf], Metric] = {}
        self._points = REQUEST_POINTS
        self._request = ExportMetricsServiceRequest()

    def __len__(self) -> int:
        return sum(points for _, points in self.made)

    def point(self, stream: Stream, time_ns: int) -> Any:
        """A new data point of a stream, with its attributes and its time."""
        if self._points >= REQUEST_POINTS:
            self._request, self._points = ExportMetricsServiceRequest(), 0
            self._scopes, self._metrics = {}, {}
            self.made.append((self._request, 0))
        self._points += 1
        self.made[-1] = self._request, self._points
        data = getattr(self._metric(stream), stream.metric.shape)
        point = data.data_points.add()
        point.ParseFromString(stream.attributes)
        point.time_unix_nano = time_ns
        return point

    def end(self, stream: Stream, time_ns: int) -> None:
        """Says that a stream has no value any more."""
        self.point(stream, time_ns).flags = _ABSENT

    def _metric(self, stream: Stream) -> Metric:
        found = self._metrics.get((stream.source, stream.metric))
        if found is None:
            of = stream.metric
            found = self._scope(stream.source).metrics.add(name=of.name, description=of.description, unit=of.unit)
            found.metadata.append(KeyValue(key=METADATA_TYPE, value=AnyValue(string_value=of.type)))
            if of.shape == "sum":
                found.sum.is_monotonic = True
                found.sum.aggregation_temporality = _CUMULATIVE
            elif of.shape in ("histogram", "exponential_histogram"):
                getattr(found, of.shape).aggregation_temporality = _CUMULATIVE
            self._metrics[stream.source, of] = found
        return found

    def _scope(self, source: tuple[str, str]) -> ScopeMetrics:
        found = self._scopes.get(source)
        if found is None:
            resource = self._request.resource_metrics.add()
            for key, value in resource_of(*source).items():
                resource.resource.attributes.append(KeyValue(key=key, value=AnyValue(string_value=value)))
            found = self._scopes[source] = resource.scope_metrics.add()
            found.scope.name = SCOPE_NAME
        return found


def add_exemplars(point: Any, stream: Stream, exemplars: tuple[Exemplar, ...], time_ns: int) -> None:
    """Adds those that the last scrape did not have: a page shows an exemplar until another one comes.

    Source: OpenTelemetry, "Prometheus and OpenMetrics Compatibility", "Exemplars".
    """
    before = stream.exemplars
    stream.exemplars = frozenset(exemplars)
    for one in exemplars:
        if one in before:
            continue
        made = point.exemplars.add(
            as_double=one.value, time_unix_nano=time_ns if one.time_ms is None else one.time_ms * _MS
        )
        for name, value in one.labels:
            if name == "trace_id" and (id_ := _hex(value, 16)):
                made.trace_id = id_
            elif name == "span_id" and (id_ := _hex(value, 8)):
                made.span_id = id_
            else:
                made.filtered_attributes.append(KeyValue(key=name, value=AnyValue(string_value=value)))


def _hex(text: str, size: int) -> bytes | None:
    try:
        made = bytes.fromhex(text) if len(text) == 2 * size else None
    except ValueError:
        return None
    return made if made and any(made) else None
