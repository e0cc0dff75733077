"""A data point of OTLP as lines of text."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.labels import attribute_labels
from ares_otel.model.prometheus.text import TOTAL, ExemplarLine, Lines, exemplar_labels, with_label
from ares_otel.model.prometheus.values import any_value_text, bound_text

NO_RECORDED_VALUE = 1
Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint


def is_stale(point: Point) -> bool:
    """Whether the point says that there is no value any more."""
    return bool(point.flags & NO_RECORDED_VALUE)


def sample_names(name: str, kind: Kind) -> tuple[str, ...]:
    """What the samples of a metric are called, and the metric itself first."""
    if kind is Kind.HISTOGRAM:
        return (name, f"{name}_bucket", f"{name}_sum", f"{name}_count")
    return (name, f"{name}_sum", f"{name}_count") if kind is Kind.SUMMARY else (name,)


class PointLines:
    """Writes the lines of points in one format."""

    def __init__(self, lines: Lines, config: TranslationConfig, *, timestamps: bool) -> None:
        self._lines = lines
        self._config = config
        self._timestamps = timestamps
        self._openmetrics = lines.format.openmetrics

    def of(self, family: str, name: str, kind: Kind, labels: str, point: Any) -> str:
        """The lines of a point.

        Args:
            family: the family's name in this format.
            name: the metric's name, escaped.
            labels: as `Lines.labels` writes them.
        """
        time = point.time_unix_nano if self._timestamps else None
        if isinstance(point, NumberDataPoint):
            made = self._number(name, kind, labels, point, time)
        elif isinstance(point, SummaryDataPoint):
            made = self._summary(family, labels, point, time)
        else:
            made = self._histogram(family, labels, point, time)
        tells_start = kind in (Kind.HISTOGRAM, Kind.SUMMARY) or (kind is Kind.COUNTER and name.endswith(TOTAL))
        if self._openmetrics and tells_start and point.start_time_unix_nano:
            made += self._lines.moment(f"{family}_created", labels, point.start_time_unix_nano)
        return made

    def _number(self, name: str, kind: Kind, labels: str, point: NumberDataPoint, time: int | None) -> str:
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        exemplar = None
        if self._openmetrics and kind is Kind.COUNTER and name.endswith(TOTAL) and point.exemplars:
            exemplar = self._exemplar(_newest(point.exemplars))
        return self._lines.sample(name, labels, value, time_unix_nano=time, exemplar=exemplar)

    def _histogram(
        self, family: str, labels: str, point: HistogramDataPoint | ExponentialHistogramDataPoint, time: int | None
    ) -> str:
        buckets = _buckets(point)
        exemplars = self._by_bucket([bound for bound, _ in buckets], point.exemplars)
        lines = [
            self._lines.sample(
                f"{family}_bucket",
                with_label(labels, "le", self._bound(bound)),
                count,
                time_unix_nano=time,
                exemplar=exemplars.get(place),
            )
            for place, (bound, count) in enumerate(buckets)
        ]
        # OpenMetrics has no sum beside buckets below zero, for it would not only grow, and no count without a sum.
        has_sum = point.HasField("sum") and not (self._openmetrics and any(bound < 0 for bound, _ in buckets))
        if has_sum:
            lines.append(self._lines.sample(f"{family}_sum", labels, point.sum, time_unix_nano=time))
        if has_sum or not self._openmetrics:
            lines.append(self._lines.sample(f"{family}_count", labels, point.count, time_unix_nano=time))
        return "".join(lines)

    def _summary(self, family: str, labels: str, point: SummaryDataPoint, time: int | None) -> str:
        quantiles = {q.quantile: q.value for q in point.quantile_values if 0.0 <= q.quantile <= 1.0}
        lines = [
            self._lines.sample(
                family, with_label(labels, "quantile", self._bound(quantile)), quantiles[quantile], time_unix_nano=time
            )
            for quantile in sorted(quantiles)
        ]
        lines.append(self._lines.sample(f"{family}_sum", labels, point.sum, time_unix_nano=time))
        lines.append(self._lines.sample(f"{family}_count", labels, point.count, time_unix_nano=time))
        return "".join(lines)

    def _bound(self, bound: float) -> str:
        """OpenMetrics's numbers in labels are floats: with a fraction."""
        text = bound_text(bound)
        return f"{text}.0" if self._openmetrics and "." not in text and math.isfinite(bound) else text

    def _by_bucket(self, bounds: Sequence[float], exemplars: Sequence[Exemplar]) -> dict[int, ExemplarLine]:
        """The newest exemplar of each bucket."""
        if not self._openmetrics or not exemplars:
            return {}
        found: dict[int, Exemplar] = {}
        for exemplar in sorted(exemplars, key=lambda exemplar: exemplar.time_unix_nano):
            value = _value(exemplar)
            if not math.isnan(value):
                found[bisect_left(bounds, value)] = exemplar
        return {place: line for place, exemplar in found.items() if (line := self._exemplar(exemplar))}

    def _exemplar(self, exemplar: Exemplar) -> ExemplarLine | None:
        attributes = {pair.key: any_value_text(pair.value) for pair in exemplar.filtered_attributes}
        try:
            filtered = attribute_labels(attributes, self._config).labels
        except Untranslatable:
            filtered = {}
        labels = exemplar_labels(exemplar.trace_id, exemplar.span_id, list(filtered.items()))
        return ExemplarLine(labels, _value(exemplar), exemplar.time_unix_nano)


def _buckets(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> list[tuple[float, int]]:
    """Upper bounds and cumulative counts; the last bound is infinity, and its count that of all measurements.

    Bounds of an exponential histogram change with its scale, and each would be a series: in text it has the last bucket
    alone, as with Prometheus's own clients. Bounds that do not ascend are left out, and so are counts without a bound.
    """
    if isinstance(point, ExponentialHistogramDataPoint):
        return [(math.inf, point.count)]
    buckets: list[tuple[float, int]] = []
    total, last = 0, -math.inf
    for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
        total += count
        if last < bound < math.inf:
            buckets.append((bound, total))
            last = bound
    return [*buckets, (math.inf, point.count)]


def _newest(exemplars: Iterable[Exemplar]) -> Exemplar:
    return max(exemplars, key=lambda exemplar: exemplar.time_unix_nano)


def _value(exemplar: Exemplar) -> float:
    return exemplar.as_int if exemplar.WhichOneof("value") == "as_int" else exemplar.as_double
