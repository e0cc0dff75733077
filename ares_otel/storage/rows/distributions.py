"""Points of histograms, exponential histograms and summaries → rows of metric_distributions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    SummaryDataPoint,
)

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.context import Encoding
from ares_otel.storage.rows.copy_format import INT4_MAX, INT8_MAX, NULL
from ares_otel.storage.rows.points import clamp, is_absent
from ares_otel.storage.rows.values import InvalidItem

MIN_SCALE, MAX_SCALE = -10, 20
"""Scales of exponential histograms that exist in practice: below, one bucket holds all doubles; above, a bucket is
narrower than a double's precision for most values."""
MAX_BUCKETS = 100_000
"""Buckets of one range of an exponential histogram. SDKs send 160."""


def encode_distribution(encoding: Encoding, point: Any) -> tuple[bytes, bool]:
    """The fields from value to quantile_values, and whether they hold all there is (counts above int8 are clamped).

    Raises:
        InvalidItem: the point contradicts itself, by the rules in the comments of metrics.proto.
    """
    if isinstance(point, HistogramDataPoint):
        return _encode_histogram(point)
    if isinstance(point, ExponentialHistogramDataPoint):
        return _encode_exponential(point)
    return _encode_summary(point)


def _encode_histogram(point: HistogramDataPoint) -> tuple[bytes, bool]:
    counts, bounds = point.bucket_counts, point.explicit_bounds
    if not is_absent(point):
        check_histogram(point.count, counts, bounds)
    head, exact = _head(point)
    counts_field, counts_exact = _counts(counts)
    fields = head + copy_format.float8_array(bounds) + counts_field + NULL * 9
    return fields, exact and counts_exact


def check_histogram(count: int, counts: Sequence[int], bounds: Sequence[float]) -> None:
    """The rules of HistogramDataPoint. Raises InvalidItem."""
    if len(counts) != (len(bounds) + 1 if counts or bounds else 0):
        raise InvalidItem("histogram.bucket_counts must be one longer than explicit_bounds, or both empty")
    if any(bound != bound for bound in bounds) or any(not low < high for low, high in pairwise(bounds)):
        raise InvalidItem("histogram.explicit_bounds must be numbers that increase strictly")
    if counts and sum(counts) != count:
        raise InvalidItem("histogram.count must be the sum of bucket_counts")


def _encode_exponential(point: ExponentialHistogramDataPoint) -> tuple[bytes, bool]:
    if not MIN_SCALE <= point.scale <= MAX_SCALE:
        raise InvalidItem(f"exponential_histogram.scale must be {MIN_SCALE} to {MAX_SCALE}")
    head, exact = _head(point)
    positive, positive_total, positive_exact = _buckets(point, "positive")
    negative, negative_total, negative_exact = _buckets(point, "negative")
    if not is_absent(point) and point.count != point.zero_count + positive_total + negative_total:
        raise InvalidItem("exponential_histogram.count must be zero_count plus all bucket_counts")
    fields = b"".join(
        (
            head,
            NULL + NULL,
            copy_format.int4(point.scale),
            copy_format.int8(clamp(point.zero_count)),
            copy_format.float8(point.zero_threshold),
            positive,
            negative,
            NULL + NULL,
        )
    )
    return fields, exact and positive_exact and negative_exact and point.zero_count <= INT8_MAX


def _buckets(point: ExponentialHistogramDataPoint, side: str) -> tuple[bytes, int, bool]:
    """The fields offset and counts of one range, the sum of the counts, and whether they are exact."""
    if not point.HasField(side):  # type: ignore[arg-type]
        return NULL + NULL, 0, True
    buckets = getattr(point, side)
    counts = buckets.bucket_counts
    if len(counts) > MAX_BUCKETS:
        raise InvalidItem(f"exponential_histogram.{side}.bucket_counts must have at most {MAX_BUCKETS} buckets")
    if counts and buckets.offset + len(counts) - 1 > INT4_MAX:
        raise InvalidItem(f"exponential_histogram.{side}: offset plus the number of buckets must fit 32 bits")
    field, exact = _counts(counts)
    return copy_format.int4(buckets.offset) + field, sum(counts), exact


def _encode_summary(point: SummaryDataPoint) -> tuple[bytes, bool]:
    values = point.quantile_values
    quantiles = [value.quantile for value in values]
    if not all(0.0 <= quantile <= 1.0 for quantile in quantiles):
        raise InvalidItem("summary.quantile_values.quantile must be 0 to 1")
    count = point.count
    mean = None if is_absent(point) or not count else point.sum / count
    fields = b"".join(
        (
            _float(mean),
            copy_format.int8(clamp(count)),
            copy_format.float8(point.sum),
            NULL * 11,
            copy_format.float8_array(quantiles),
            copy_format.float8_array([value.value for value in values]),
        )
    )
    return fields, count <= INT8_MAX


def _head(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> tuple[bytes, bool]:
    """The fields value (the mean), count, sum, min, max, and whether they are exact."""
    count = point.count
    total = point.sum if point.HasField("sum") else None
    mean = None if total is None or not count or is_absent(point) else total / count
    fields = b"".join(
        (
            _float(mean),
            copy_format.int8(clamp(count)),
            _float(total),
            _float(point.min if point.HasField("min") else None),
            _float(point.max if point.HasField("max") else None),
        )
    )
    return fields, count <= INT8_MAX


def _float(value: float | None) -> bytes:
    return NULL if value is None else copy_format.float8(value)


def _counts(counts: Sequence[int]) -> tuple[bytes, bool]:
    """An int8 array, and whether it is exact."""
    if not counts or max(counts) <= INT8_MAX:
        return copy_format.int8_array(counts), True
    return copy_format.int8_array([clamp(count) for count in counts]), False
