"""What is counted for one series, and the data point that becomes of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.connectors.exponential import ExponentialHistogram

MOST = 2**63 - 1
"""A count stops here: more is no number of OTLP and of the database."""


class Example(NamedTuple):
    """A span that stands behind a data point."""

    trace_id: bytes
    span_id: bytes
    duration: float
    time_ns: int


class Point(Protocol):
    """The counts of one series."""

    start_ns: int
    """When the first span was counted."""
    last_ns: int
    """When the last one was."""

    def add(self, duration: float, times: int = 1) -> None:
        """Counts a span, or an event of one, as so many."""
        ...

    def remember(self, example: Example) -> None:
        """Keeps a span for the next data point, where spans are kept."""
        ...

    def write(self, metric: Metric, temporality: AggregationTemporality.ValueType, start_ns: int, now_ns: int) -> None:
        """Adds the data point to a metric."""
        ...


class _Counted:
    __slots__ = ("_attributes", "_examples", "_limit", "last_ns", "start_ns")

    def __init__(self, attributes: Sequence[KeyValue], now_ns: int, examples: int) -> None:
        """
        Args:
            examples: how many are kept.
        """
        # Encoded: as messages they would take several times the memory, and there may be many series.
        self._attributes = Resource(attributes=attributes).SerializeToString()
        self.start_ns = self.last_ns = now_ns
        self._limit = examples
        self._examples: list[Example] = []

    def remember(self, example: Example) -> None:
        if self._limit:
            self._examples.append(example)
            if len(self._examples) > self._limit:
                del self._examples[0]

    def _fill(
        self,
        point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint,
        start_ns: int,
        now_ns: int,
    ) -> None:
        point.attributes.extend(Resource.FromString(self._attributes).attributes)
        point.start_time_unix_nano = start_ns
        point.time_unix_nano = now_ns
        if self._examples:
            point.exemplars.extend(
                Exemplar(trace_id=one.trace_id, span_id=one.span_id, as_double=one.duration, time_unix_nano=one.time_ns)
                for one in self._examples
            )
            self._examples = []


class Count(_Counted):
    """How many there were."""

    __slots__ = ("value",)

    def __init__(self, attributes: Sequence[KeyValue], now_ns: int, examples: int) -> None:
        super().__init__(attributes, now_ns, examples)
        self.value = 0

    def add(self, duration: float, times: int = 1) -> None:
        self.value = min(self.value + times, MOST)

    def write(self, metric: Metric, temporality: AggregationTemporality.ValueType, start_ns: int, now_ns: int) -> None:
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = temporality
        point = metric.sum.data_points.add(as_int=self.value)
        self._fill(point, start_ns, now_ns)


class _Durations(_Counted):
    __slots__ = ("count", "highest", "lowest", "total")

    def __init__(self, attributes: Sequence[KeyValue], now_ns: int, examples: int) -> None:
        super().__init__(attributes, now_ns, examples)
        self.count = 0
        self.total = 0.0
        self.lowest = float("inf")
        self.highest = float("-inf")

    def _note(self, duration: float, times: int) -> int:
        """As how many it is counted."""
        times = min(times, MOST - self.count)
        self.count += times
        self.total += duration * times
        if duration < self.lowest:
            self.lowest = duration
        if duration > self.highest:
            self.highest = duration
        return times


class Explicit(_Durations):
    """Durations in buckets with fixed bounds."""

    __slots__ = ("bounds", "counts")

    def __init__(self, attributes: Sequence[KeyValue], now_ns: int, examples: int, bounds: Sequence[float]) -> None:
        """
        Args:
            bounds: upper bounds, each in its bucket.
        """
        super().__init__(attributes, now_ns, examples)
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)

    def add(self, duration: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, duration)] += self._note(duration, times)

    def write(self, metric: Metric, temporality: AggregationTemporality.ValueType, start_ns: int, now_ns: int) -> None:
        metric.histogram.aggregation_temporality = temporality
        point = metric.histogram.data_points.add(
            count=self.count,
            sum=self.total,
            min=self.lowest,
            max=self.highest,
            bucket_counts=self.counts,
            explicit_bounds=self.bounds,
        )
        self._fill(point, start_ns, now_ns)


class Exponential(_Durations):
    """Durations in buckets that follow them."""

    __slots__ = ("histogram",)

    def __init__(self, attributes: Sequence[KeyValue], now_ns: int, examples: int, max_size: int) -> None:
        """
        Args:
            max_size: buckets at most.
        """
        super().__init__(attributes, now_ns, examples)
        self.histogram = ExponentialHistogram(max_size)

    def add(self, duration: float, times: int = 1) -> None:
        self.histogram.add(duration, self._note(duration, times))

    def write(self, metric: Metric, temporality: AggregationTemporality.ValueType, start_ns: int, now_ns: int) -> None:
        metric.exponential_histogram.aggregation_temporality = temporality
        offset, counts = self.histogram.dense()
        point = metric.exponential_histogram.data_points.add(
            count=self.count,
            sum=self.total,
            min=self.lowest,
            max=self.highest,
            scale=self.histogram.scale if counts else 0,  # zeros alone are in no bucket
            zero_count=self.histogram.zero_count,
        )
        point.positive.offset = offset
        point.positive.bucket_counts.extend(counts)
        self._fill(point, start_ns, now_ns)
