"""Native histograms of Prometheus → points of OTLP.

Source: OpenTelemetry, "Prometheus and OpenMetrics Compatibility", native histograms; Prometheus's own checks of what it
stores (model/histogram).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    DataPointFlags,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from ares_otel.model.prometheus.native_histogram import (
    CUSTOM_BUCKETS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    NativeHistogram,
    Spans,
    is_stale_bits,
)

MAX_BUCKETS = 16_384
"""Between the first and the last bucket of one side, empty ones among them: OTLP writes each of them. A Prometheus
client has 160 in use, and schema 8 spreads those over a few thousand at most."""
_MAX_COUNT = 2**64 - 1
_INDEX_LIMIT = 2**31 - 1
_ABSENT = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


class WrongHistogram(ValueError):
    """A native histogram that cannot be stored; the message says why."""


def to_otlp(histogram: NativeHistogram) -> ExponentialHistogramDataPoint | HistogramDataPoint:
    """The point that says the same, without attributes and times. The marker that ends a series becomes a point
    without a recorded value.

    Raises:
        WrongHistogram: it contradicts itself, spreads over too many buckets, or has counts that are no whole numbers,
            for which OTLP has no place.
    """
    custom = histogram.schema == CUSTOM_BUCKETS
    if not custom and not MIN_SCHEMA <= histogram.schema <= MAX_SCHEMA:
        raise WrongHistogram(
            f"the schema {histogram.schema} is none of {MIN_SCHEMA} to {MAX_SCHEMA} and {CUSTOM_BUCKETS}"
        )
    if is_stale_bits(histogram.sum):
        if custom:
            return HistogramDataPoint(flags=_ABSENT)
        return ExponentialHistogramDataPoint(scale=histogram.schema, flags=_ABSENT)
    return _custom(histogram) if custom else _exponential(histogram)


def _exponential(histogram: NativeHistogram) -> ExponentialHistogramDataPoint:
    if histogram.custom_values:
        raise WrongHistogram(f"custom values belong to schema {CUSTOM_BUCKETS} only")
    if not (isfinite(histogram.zero_threshold) and histogram.zero_threshold >= 0):
        raise WrongHistogram("the zero threshold is not a number of 0 or more")
    first, positive = _dense(histogram.positive_spans, histogram.positive_counts, "positive")
    first_negative, negative = _dense(histogram.negative_spans, histogram.negative_counts, "negative")
    zero = _count(histogram.zero_count)
    count = _checked_count(histogram, zero + sum(positive) + sum(negative))
    point = ExponentialHistogramDataPoint(
        count=count,
        sum=histogram.sum,
        scale=histogram.schema,
        zero_count=zero,
        zero_threshold=histogram.zero_threshold,
    )
    if positive:
        point.positive.offset = first - 1  # bucket i ends where OTLP's begins
        point.positive.bucket_counts.extend(positive)
    if negative:
        point.negative.offset = first_negative - 1
        point.negative.bucket_counts.extend(negative)
    return point


def _custom(histogram: NativeHistogram) -> HistogramDataPoint:
    bounds = histogram.custom_values
    if any(not low < high for low, high in pairwise(bounds)) or any(bound != bound for bound in bounds):
        raise WrongHistogram("the custom values do not increase")
    if bounds and bounds[-1] == float("inf"):
        raise WrongHistogram("the custom values hold +Inf, which is understood")
    if histogram.negative_spans or histogram.negative_counts or histogram.zero_count or histogram.zero_threshold:
        raise WrongHistogram(f"schema {CUSTOM_BUCKETS} has neither negative buckets nor one for zero")
    if len(bounds) >= MAX_BUCKETS:
        raise WrongHistogram(f"it has more than {MAX_BUCKETS} buckets")
    first, found = _dense(histogram.positive_spans, histogram.positive_counts, "positive")
    if found and not 0 <= first <= first + len(found) - 1 <= len(bounds):
        raise WrongHistogram("a bucket lies outside the custom values")
    counts = [0] * (len(bounds) + 1)
    counts[first : first + len(found)] = found
    return HistogramDataPoint(
        count=_checked_count(histogram, sum(counts)), sum=histogram.sum, bucket_counts=counts, explicit_bounds=bounds
    )


def _checked_count(histogram: NativeHistogram, measured: int) -> int:
    """How many measurements there are. Measurements of NaN are in no bucket, and only a sum of NaN may have some; OTLP
    knows no such thing."""
    count = _count(histogram.count)
    if count != measured:
        if histogram.sum != histogram.sum and count > measured:
            raise WrongHistogram("it counts measurements of NaN, which no bucket of OTLP holds")
        raise WrongHistogram(f"its count is {count}, and its buckets hold {measured}")
    return count


def _dense(spans: Spans, counts: Sequence[float], side: str) -> tuple[int, list[int]]:
    """The index of the first bucket, and the count of each from there to the last one."""
    if sum(length for _, length in spans) != len(counts):
        raise WrongHistogram(f"the {side} spans have another number of buckets than counts are given")
    if not counts:
        return 0, []
    dense: list[int] = []
    first: int | None = None
    taken = gap = 0
    for number, (offset, length) in enumerate(spans):
        if number and offset < 0:
            raise WrongHistogram(f"the {side} span {number} begins before the end of the one before")
        gap += offset
        if not length:
            continue
        if first is None:
            first = gap
        elif len(dense) + gap + length <= MAX_BUCKETS:
            dense += [0] * gap
        else:
            raise WrongHistogram(f"its {side} buckets spread over more than {MAX_BUCKETS}")
        if len(dense) + length > MAX_BUCKETS:
            raise WrongHistogram(f"its {side} buckets spread over more than {MAX_BUCKETS}")
        dense += [_count(value) for value in counts[taken : taken + length]]
        taken += length
        gap = 0
    assert first is not None
    if not -_INDEX_LIMIT < first <= _INDEX_LIMIT - MAX_BUCKETS:
        raise WrongHistogram(f"its {side} buckets begin where no measurement can be")
    return first, dense


def _count(value: float) -> int:
    """A count as a whole number."""
    if not (0 <= value <= _MAX_COUNT):
        raise WrongHistogram("one of its counts is below 0, or no number")
    whole = int(value)
    if whole != value:
        raise WrongHistogram(
            "its counts are not whole numbers, for which OTLP's histograms have no place; store the histogram that was "
            "measured, and compute rates of it when you ask"
        )
    return whole
