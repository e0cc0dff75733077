"""A data point of OTLP as lines of text."""

from __future__ import annotations

import math
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.exemplars import by_bucket, exemplar_line, newest
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.text import TOTAL, ExemplarLine, Lines, with_label
from ares_otel.model.prometheus.values import bound_text, canonical_bound_text

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

    def of(self, family: str, name: str, kind: Kind, labels: str, point: Any, *, verbatim: bool = False) -> str:
        """The lines of a point.

        Args:
            family: the family's name in this format.
            name: the metric's name, escaped.
            labels: as `Lines.labels` writes them.
            verbatim: it came as Prometheus has it, so bounds and quantiles are written as there.
        """
        time = point.time_unix_nano if self._timestamps else None
        if isinstance(point, NumberDataPoint):
            made = self._number(name, kind, labels, point, time)
        elif isinstance(point, SummaryDataPoint):
            made = self._summary(family, labels, point, time, verbatim)
        else:
            made = self._histogram(family, labels, point, time, verbatim)
        tells_start = kind in (Kind.HISTOGRAM, Kind.SUMMARY) or (kind is Kind.COUNTER and name.endswith(TOTAL))
        if self._openmetrics and tells_start and point.start_time_unix_nano:
            made += self._lines.moment(f"{family}_created", labels, point.start_time_unix_nano)
        return made

    def _number(self, name: str, kind: Kind, labels: str, point: NumberDataPoint, time: int | None) -> str:
        exemplar = None
        if self._openmetrics and kind is Kind.COUNTER and name.endswith(TOTAL) and point.exemplars:
            exemplar = exemplar_line(newest(point.exemplars), self._config)
        return self._lines.sample(name, labels, number_of(point), time_unix_nano=time, exemplar=exemplar)

    def _histogram(
        self,
        family: str,
        labels: str,
        point: HistogramDataPoint | ExponentialHistogramDataPoint,
        time: int | None,
        verbatim: bool,
    ) -> str:
        buckets = classic_buckets(point)
        exemplars: dict[int, ExemplarLine] = {}
        if self._openmetrics and point.exemplars:
            exemplars = by_bucket([bound for bound, _ in buckets], point.exemplars, self._config)
        lines = [
            self._lines.sample(
                f"{family}_bucket",
                with_label(labels, "le", self._bound(bound, verbatim)),
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

    def _summary(self, family: str, labels: str, point: SummaryDataPoint, time: int | None, verbatim: bool) -> str:
        lines = [
            self._lines.sample(
                family, with_label(labels, "quantile", self._bound(quantile, verbatim)), value, time_unix_nano=time
            )
            for quantile, value in quantiles_of(point)
        ]
        lines.append(self._lines.sample(f"{family}_sum", labels, point.sum, time_unix_nano=time))
        lines.append(self._lines.sample(f"{family}_count", labels, point.count, time_unix_nano=time))
        return "".join(lines)

    def _bound(self, bound: float, verbatim: bool) -> str:
        """OpenMetrics's numbers in labels are floats: with a fraction."""
        if verbatim:
            return canonical_bound_text(bound)
        text = bound_text(bound)
        return f"{text}.0" if self._openmetrics and "." not in text and math.isfinite(bound) else text


def number_of(point: NumberDataPoint) -> float:
    """The value of a number: a whole one is an int."""
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def quantiles_of(point: SummaryDataPoint) -> list[tuple[float, float]]:
    """Quantiles and their values, each once and in order; what is no quantile is left out."""
    quantiles = {q.quantile: q.value for q in point.quantile_values if 0.0 <= q.quantile <= 1.0}
    return sorted(quantiles.items())


def classic_buckets(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> list[tuple[float, int]]:
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
