"""A data point of OTLP as a message of Prometheus's protobuf exposition, the one format that has native histograms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.escaping import Escaping, escape_labels
from ares_otel.model.prometheus.exemplars import by_bucket, by_native_bucket, exemplar_line, newest
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.native_from_otlp import from_exponential
from ares_otel.model.prometheus.native_histogram import NativeHistogram
from ares_otel.model.prometheus.points import classic_buckets, number_of, quantiles_of
from ares_otel.model.prometheus.proto import exposition_pb2 as pb
from ares_otel.model.prometheus.text import ExemplarLine
from ares_otel.model.varint import varint

_TYPES = {
    Kind.COUNTER: pb.COUNTER,
    Kind.GAUGE: pb.GAUGE,
    Kind.HISTOGRAM: pb.HISTOGRAM,
    Kind.SUMMARY: pb.SUMMARY,
    Kind.INFO: pb.GAUGE,
    Kind.UNKNOWN: pb.UNTYPED,
}
_METRIC_TAG = pb.MetricFamily.DESCRIPTOR.fields_by_name["metric"].number << 3 | 2

Pairs = tuple[tuple[str, str], ...]
"""Labels, escaped and sorted."""


class NativeMetric(bytes):
    """The encoding of a metric that is a native histogram: in its family it stands behind those with classic buckets,
    for an older Prometheus (2.42 is one) takes a whole family for what its first metric is."""

    __slots__ = ()


class Messages:
    """Writes metrics and families."""

    def __init__(self, config: TranslationConfig, escaping: Escaping, *, timestamps: bool) -> None:
        self._config = config
        self._escaping = escaping
        self._timestamps = timestamps

    def labels(self, labels: Mapping[str, str]) -> Pairs:
        """Labels as they stand in a metric."""
        return tuple(escape_labels(labels, self._escaping).items())

    def number(self, kind: Kind, labels: Pairs, value: float) -> bytes:
        """The encoding of a metric that is one number."""
        return self._with_value(pb.Metric(label=_pairs(labels)), kind, value).SerializeToString()

    def typed(self, kind: Kind, metric: bytes) -> bytes:
        """The encoding of a metric of unknown type, as one of a counter or gauge."""
        read = pb.Metric.FromString(metric)
        value = read.untyped.value
        read.ClearField("untyped")
        return self._with_value(read, kind, value).SerializeToString()

    def of(self, kind: Kind, labels: Pairs, point: Any, *, verbatim: bool = False) -> bytes:
        """The encoding of a point.

        Raises:
            Untranslatable: an exponential histogram that is no native one, see `native_from_otlp`.
        """
        metric = pb.Metric(label=_pairs(labels))
        if self._timestamps:
            metric.timestamp_ms = point.time_unix_nano // 1_000_000
        if isinstance(point, NumberDataPoint):
            self._with_value(metric, kind, number_of(point))
            if kind is Kind.COUNTER:
                if point.exemplars:
                    metric.counter.exemplar.CopyFrom(
                        self._exemplar(exemplar_line(newest(point.exemplars), self._config))
                    )
                self._created(metric.counter.created_timestamp, point)
        elif isinstance(point, SummaryDataPoint):
            metric.summary.CopyFrom(_summary(point))
            self._created(metric.summary.created_timestamp, point)
        elif isinstance(point, HistogramDataPoint):
            metric.histogram.CopyFrom(self._classic(point))
            self._created(metric.histogram.created_timestamp, point)
        else:
            metric.histogram.CopyFrom(self._native(point, verbatim))
            self._created(metric.histogram.created_timestamp, point)
            return NativeMetric(metric.SerializeToString())
        return metric.SerializeToString()

    def family(self, name: str, kind: Kind, unit: str, description: str, metrics: Sequence[bytes]) -> Iterator[bytes]:
        """A family with encoded metrics, behind its length, in pieces."""
        head = pb.MetricFamily(name=name, type=_TYPES[kind])
        if description:
            head.help = description
        if unit and name.endswith(f"_{unit}"):
            head.unit = unit
        start = head.SerializeToString()
        pieces = [bytes((_METRIC_TAG,)) + varint(len(metric)) for metric in metrics]
        size = len(start) + sum(map(len, pieces)) + sum(map(len, metrics))
        yield varint(size) + start
        for piece, metric in sorted(
            zip(pieces, metrics, strict=True), key=lambda both: isinstance(both[1], NativeMetric)
        ):
            yield piece + metric

    def _with_value(self, metric: pb.Metric, kind: Kind, value: float) -> pb.Metric:
        if kind is Kind.COUNTER:
            metric.counter.value = value
        elif kind is Kind.UNKNOWN:
            metric.untyped.value = value
        else:
            metric.gauge.value = value
        return metric

    def _classic(self, point: HistogramDataPoint) -> pb.Histogram:
        """The format has no histogram without a sum: NaN says that there is none."""
        made = pb.Histogram(sample_count=point.count, sample_sum=point.sum if point.HasField("sum") else float("nan"))
        buckets = classic_buckets(point)
        exemplars = by_bucket([bound for bound, _ in buckets], point.exemplars, self._config) if point.exemplars else {}
        for place, (bound, count) in enumerate(buckets):
            bucket = made.bucket.add(upper_bound=bound, cumulative_count=count)
            if place in exemplars:
                bucket.exemplar.CopyFrom(self._exemplar(exemplars[place]))
        return made

    def _native(self, point: ExponentialHistogramDataPoint, verbatim: bool) -> pb.Histogram:
        native = from_exponential(point, verbatim=verbatim)
        made = native_message(native)
        if point.exemplars:
            lines = by_native_bucket(native.schema, point.exemplars, self._config)
            made.exemplars.extend(self._exemplar(line) for line in lines)
        return made

    def _exemplar(self, line: ExemplarLine) -> pb.Exemplar:
        made = pb.Exemplar(label=_pairs(self.labels(line.labels)), value=line.value)
        if line.time_unix_nano:
            made.timestamp.CopyFrom(_timestamp(line.time_unix_nano))
        return made

    def _created(self, field: Timestamp, point: Any) -> None:
        if point.start_time_unix_nano:
            field.CopyFrom(_timestamp(point.start_time_unix_nano))


def native_message(native: NativeHistogram) -> pb.Histogram:
    """A native histogram of whole numbers as a message, without exemplars and start time."""
    made = pb.Histogram(
        sample_count=int(native.count),
        sample_sum=native.sum,
        schema=native.schema,
        zero_threshold=native.zero_threshold,
        zero_count=int(native.zero_count),
        positive_span=_spans(native.positive_spans),
        positive_delta=_deltas(native.positive_counts),
        negative_span=_spans(native.negative_spans),
        negative_delta=_deltas(native.negative_counts),
    )
    if not (native.zero_threshold or native.zero_count or made.positive_span or made.negative_span):
        made.positive_span.add(offset=0, length=0)  # nothing else says that it is a native one
    return made


def _summary(point: SummaryDataPoint) -> pb.Summary:
    made = pb.Summary(sample_count=point.count, sample_sum=point.sum)
    for quantile, value in quantiles_of(point):
        made.quantile.add(quantile=quantile, value=value)
    return made


def _spans(spans: Iterable[tuple[int, int]]) -> list[pb.BucketSpan]:
    return [pb.BucketSpan(offset=offset, length=length) for offset, length in spans]


def _deltas(counts: Sequence[float]) -> list[int]:
    """Each count as the difference to the one before."""
    return [int(after) - int(before) for before, after in pairwise((0, *counts))]


def _pairs(labels: Pairs) -> list[pb.LabelPair]:
    return [pb.LabelPair(name=name, value=value) for name, value in labels]


def _timestamp(unix_nano: int) -> Timestamp:
    seconds, nanos = divmod(unix_nano, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
