"""Histograms of OTLP as native histograms.

The rules are those of the specification's "Exponential Histograms" (compatibility/prometheus_and_openmetrics), and what
a Prometheus accepts: a scrape or a write with one histogram that is not consistent fails as a whole there, so such a
point is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from ares_otel.model.prometheus.config import Untranslatable
from ares_otel.model.prometheus.native_histogram import (
    CUSTOM_BUCKETS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    STALE_NAN,
    NativeHistogram,
    ResetHint,
    Spans,
)
from ares_otel.model.prometheus.points import NO_RECORDED_VALUE

DEFAULT_ZERO_THRESHOLD = 1e-128
"""Of a point that names none, as in Prometheus."""
MAX_GAP = 2
"""Empty buckets that stand in a span; more of them begin a new one."""
_MAX_COUNT = 2**63 - 1
_MIN_INDEX, _MAX_INDEX = -(2**31), 2**31 - 1


def from_exponential(
    point: ExponentialHistogramDataPoint, *, delta: bool = False, verbatim: bool = False
) -> NativeHistogram:
    """The native histogram of a point; the one without a recorded value is stale.

    Args:
        delta: the point is one, so it is no counter: its reset hint is GAUGE.
        verbatim: it came as a native histogram, so a zero threshold of 0 stays.

    Raises:
        Untranslatable: its scale is below -4, its buckets do not add up to its count, a count is above 2^63, or an
            index has more than 32 bits. The message is a sentence.
    """
    return native_histogram(
        scale=point.scale,
        count=point.count,
        sum=point.sum if point.HasField("sum") else None,
        zero_count=point.zero_count,
        zero_threshold=point.zero_threshold,
        positive_offset=point.positive.offset,
        positive_counts=point.positive.bucket_counts,
        negative_offset=point.negative.offset,
        negative_counts=point.negative.bucket_counts,
        flags=point.flags,
        delta=delta,
        verbatim=verbatim,
    )


def from_exponential_row(row: Mapping[str, Any], *, delta: bool = False, verbatim: bool = False) -> NativeHistogram:
    """The same for a row of metric_distributions, or anything with its columns. Raises as `from_exponential`."""
    if row["point_raw"] is not None:
        point = ExponentialHistogramDataPoint.FromString(row["point_raw"])
        return from_exponential(point, delta=delta, verbatim=verbatim)
    return native_histogram(
        scale=row["scale"],
        count=row["count"],
        sum=row["sum"],
        zero_count=row["zero_count"] or 0,
        zero_threshold=row["zero_threshold"] or 0.0,
        positive_offset=row["positive_offset"] or 0,
        positive_counts=row["positive_counts"] or (),
        negative_offset=row["negative_offset"] or 0,
        negative_counts=row["negative_counts"] or (),
        flags=row["flags"] or 0,
        delta=delta,
        verbatim=verbatim,
    )


def native_histogram(
    *,
    scale: int,
    count: int,
    sum: float | None,
    zero_count: int,
    zero_threshold: float,
    positive_offset: int,
    positive_counts: Sequence[int],
    negative_offset: int,
    negative_counts: Sequence[int],
    flags: int = 0,
    delta: bool = False,
    verbatim: bool = False,
) -> NativeHistogram:
    """The same for the fields of a point, by their names in OTLP. A sum that is missing is 0, as in Prometheus."""
    hint = ResetHint.GAUGE if delta else ResetHint.UNKNOWN
    schema = min(scale, MAX_SCHEMA)
    if flags & NO_RECORDED_VALUE:
        return NativeHistogram(max(schema, MIN_SCHEMA), STALE_NAN, STALE_NAN, reset_hint=hint)
    if schema < MIN_SCHEMA:
        raise Untranslatable(f"The scale {scale} is below {MIN_SCHEMA}, the coarsest that native histograms have.")
    total = 0.0 if sum is None else sum
    _check_counts(count, total, (zero_count, *positive_counts, *negative_counts))
    merged = scale - schema
    positive_spans, positive = _sparse(positive_counts, positive_offset, merged, index_shift=1)
    negative_spans, negative = _sparse(negative_counts, negative_offset, merged, index_shift=1)
    if not (zero_threshold > 0 and math.isfinite(zero_threshold)):
        zero_threshold = 0.0 if verbatim else DEFAULT_ZERO_THRESHOLD
    return NativeHistogram(
        schema, count, total, zero_threshold, zero_count, positive_spans, positive, negative_spans, negative, (), hint
    )


def from_explicit(point: HistogramDataPoint, *, delta: bool = False) -> NativeHistogram:
    """A histogram with explicit bounds as one of custom buckets (schema -53); without a recorded value it is stale.

    Raises:
        Untranslatable: bounds are not finite and ascending, there is not one bucket more than bounds (or none of both),
            buckets do not add up to the count, or a count is above 2^63.
    """
    hint = ResetHint.GAUGE if delta else ResetHint.UNKNOWN
    if point.flags & NO_RECORDED_VALUE:
        return NativeHistogram(CUSTOM_BUCKETS, STALE_NAN, STALE_NAN, reset_hint=hint)
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts) or (point.count,)
    if len(counts) != len(bounds) + 1:
        raise Untranslatable(f"There are {len(counts)} buckets and {len(bounds)} bounds; one bound less is needed.")
    pairs = zip((-math.inf, *bounds), (*bounds, math.inf), strict=True)
    if not all(lower < upper for lower, upper in pairs):  # false for NaN too
        raise Untranslatable("Bounds of buckets are finite and ascend.")
    _check_counts(point.count, point.sum, counts)
    spans, sparse = _sparse(counts, 0, 0, index_shift=0)
    return NativeHistogram(
        CUSTOM_BUCKETS,
        point.count,
        point.sum,
        positive_spans=spans,
        positive_counts=sparse,
        custom_values=bounds,
        reset_hint=hint,
    )


def _check_counts(count: int, total: float, counts: Sequence[int]) -> None:
    """Prometheus's rule: measurements of NaN are counted, are in no bucket, and make the sum NaN."""
    counted = sum(counts)
    if count > _MAX_COUNT or counted > _MAX_COUNT:
        raise Untranslatable("Counts above 2^63 have no place in a native histogram.")
    if counted > count or (counted < count and not math.isnan(total)):
        raise Untranslatable(f"The count is {count}, but the buckets have {counted} measurements.")


def _sparse(dense: Sequence[int], offset: int, merged: int, *, index_shift: int) -> tuple[Spans, tuple[float, ...]]:
    """Spans and counts of buckets.

    Args:
        dense: counts of buckets that follow each other.
        offset: index of the first one.
        merged: 2^merged buckets become one.
        index_shift: 1 where OTLP names a bucket by its lower bound, for native histograms name it by its upper one.
    """
    spans: list[tuple[int, int]] = []
    counts: list[float] = []
    end = 0  # index behind the last bucket
    for place, count in enumerate(dense):
        if not count:
            continue
        index = ((offset + place) >> merged) + index_shift
        if spans and index == end - 1:
            counts[-1] += count
            continue
        gap = index - end
        if spans and gap <= MAX_GAP:
            counts += [0] * gap
            spans[-1] = (spans[-1][0], spans[-1][1] + gap + 1)
        else:
            spans.append((gap, 1))
        counts.append(count)
        end = index + 1
    if spans and (spans[0][0] < _MIN_INDEX or max(end - 1, *(gap for gap, _ in spans)) > _MAX_INDEX):
        raise Untranslatable("Indexes of buckets have 32 bits.")
    return tuple(spans), tuple(counts)
