"""ExportMetricsServiceRequest → series, rows of metric_samples and rows of metric_distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.context import Encoding
from ares_otel.storage.rows.copy_format import NULL
from ares_otel.storage.rows.deltas import DeltaArrivals
from ares_otel.storage.rows.distributions import encode_distribution
from ares_otel.storage.rows.encoded import DELTAS, DISTRIBUTIONS, SAMPLES, SERIES
from ares_otel.storage.rows.envelope import Envelope, walk
from ares_otel.storage.rows.identity import canonical_attributes, hasher, part
from ares_otel.storage.rows.points import encode_end, encode_time, is_absent
from ares_otel.storage.rows.values import InvalidItem, clean_text, json_object, json_text, raw_pairs

TEMPORALITIES = ("", "delta", "cumulative")
"""aggregation_temporality by number."""
_WITH_TEMPORALITY = ("sum", "histogram", "exponential_histogram")

_UUID = copy_format.length(16)
_SAMPLE_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[SAMPLES]))
_DISTRIBUTION_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[DISTRIBUTIONS]))


def encode_metrics(encoding: Encoding, request: ExportMetricsServiceRequest) -> None:
    """Writes the rows of a request into `encoding.out`."""
    arrivals = DeltaArrivals(encoding.tenant_id)
    for envelope, metrics in walk(encoding, request.resource_metrics, "scope_metrics", "metrics", _count):
        for metric in metrics:
            kind = metric.WhichOneof("data")
            if kind is None:
                continue
            points = getattr(metric, kind).data_points
            if not points:
                continue
            try:
                series = _series_of(encoding, envelope, metric)
            except InvalidItem as error:
                encoding.reject(error.reason, len(points))
                continue
            deltas = arrivals if _adds_up(metric) else None
            if kind in ("gauge", "sum"):
                encoding.append(SAMPLES, points, _sample_encoder(encoding, series, deltas))
            else:
                encoding.append(DISTRIBUTIONS, points, _distribution_encoder(encoding, series, deltas))
    encoding.add_increments(DELTAS, arrivals.rows)


def _count(metrics: Sequence[Metric]) -> int:
    return sum(len(getattr(metric, kind).data_points) for metric in metrics if (kind := metric.WhichOneof("data")))


def _series_of(encoding: Encoding, envelope: Envelope, metric: Metric) -> Callable[[Any], bytes]:
    """A function that gives the series id of a point of the metric, and defines the series when it is new.

    Raises:
        InvalidItem: the metric is invalid, so none of its points can be stored.
    """
    if not metric.name:
        raise InvalidItem("metric.name must not be empty")
    kind, temporality, monotonic = _describe(metric)
    replaced = encoding.replaced
    metadata, metadata_exact = json_object(metric.metadata)
    metadata_text, clean = json_text(metadata, "metadata", replaced)
    metadata_json = metadata_text.decode()
    metadata_raw = None if metadata_exact and clean else raw_pairs(metric.metadata)
    base = hasher(
        "series",
        (
            *(encoding.tenant_id, envelope.resource_id, envelope.scope_id),
            *(metric.name, kind, metric.unit, metric.description, temporality, monotonic),
            canonical_attributes(metric.metadata),
        ),
    )
    identity = (
        envelope.service_name,
        clean_text(metric.name, "metric_name", replaced),
        kind,
        clean_text(metric.unit, "unit", replaced),
        clean_text(metric.description, "description", replaced),
        temporality,
        monotonic,
    )
    origin = (UUID(bytes=envelope.resource_id), UUID(bytes=envelope.scope_id))
    seen: set[bytes] = set()

    def series(point: Any) -> bytes:
        pairs = point.attributes
        hash_ = base.copy()
        hash_.update(part(canonical_attributes(pairs)))
        series_id = hash_.digest()
        if series_id not in seen:
            seen.add(series_id)
            if encoding.is_known(series_id):
                return series_id
            labels, exact = json_object(pairs)
            text, clean = json_text(labels, "labels", replaced)
            raw = None if exact and clean else raw_pairs(pairs)
            encoding.define(SERIES, series_id, (*identity, text.decode(), raw, metadata_json, metadata_raw, *origin))
        return series_id

    return series


def _describe(metric: Metric) -> tuple[str, str | None, bool | None]:
    """metric_type, temporality and is_monotonic. Raises InvalidItem."""
    kind = metric.WhichOneof("data")
    assert kind is not None
    if kind not in _WITH_TEMPORALITY:
        return kind, None, None
    data = getattr(metric, kind)
    number = data.aggregation_temporality
    if not number:
        raise InvalidItem(f"metric.{kind}.aggregation_temporality must be delta or cumulative")
    temporality = TEMPORALITIES[number] if 0 < number < len(TEMPORALITIES) else str(number)
    if kind != "sum":
        return kind, temporality, None
    return ("counter" if data.is_monotonic else "updowncounter"), temporality, data.is_monotonic


def _adds_up(metric: Metric) -> bool:
    """Whether its points are deltas that have a total: those of a counter or a histogram."""
    kind = metric.WhichOneof("data")
    if kind not in _WITH_TEMPORALITY:
        return False
    data = getattr(metric, kind)
    return bool(data.aggregation_temporality == TEMPORALITIES.index("delta") and (kind != "sum" or data.is_monotonic))


def _sample_encoder(
    encoding: Encoding, series: Callable[[Any], bytes], deltas: DeltaArrivals | None
) -> Callable[[NumberDataPoint], bytes]:
    window = encoding.windows[SAMPLES]
    prefix = _SAMPLE_HEAD + encoding.shared + _UUID

    def encode(point: NumberDataPoint) -> bytes:
        time, original = encode_time(point, window, encoding.filing_ns(window))
        value, exact = _encode_value(point)
        end = encode_end(encoding, point, original, exact=exact)
        series_id = series(point)
        if deltas is not None:
            deltas.add_number(series_id, time, value)
        return b"".join((prefix, series_id, time, value, end))

    return encode


def _encode_value(point: NumberDataPoint) -> tuple[bytes, bool]:
    """The fields value and value_int, and whether they hold what was sent."""
    kind = point.WhichOneof("value")
    if is_absent(point):
        return NULL + NULL, kind is None
    if kind == "as_double":
        return copy_format.float8(point.as_double) + NULL, True
    if kind == "as_int":
        return copy_format.float8(point.as_int) + copy_format.int8(point.as_int), True
    return NULL + NULL, True


def _distribution_encoder(
    encoding: Encoding, series: Callable[[Any], bytes], deltas: DeltaArrivals | None
) -> Callable[[Any], bytes]:
    window = encoding.windows[DISTRIBUTIONS]
    prefix = _DISTRIBUTION_HEAD + encoding.shared + _UUID

    def encode(point: Any) -> bytes:
        time, original = encode_time(point, window, encoding.filing_ns(window))
        fields, exact = encode_distribution(encoding, point)
        end = encode_end(encoding, point, original, exact=exact)
        series_id = series(point)
        if deltas is not None and not is_absent(point):
            deltas.add_distribution(series_id, time)
        return b"".join((prefix, series_id, time, fields, end))

    return encode
