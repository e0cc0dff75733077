"""The points of a request on their way to OTLP: collected by family, with their exemplars."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import itemgetter
from struct import Struct

from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from ares_otel.model.prometheus.native_histogram import (
    CUSTOM_BUCKETS,
    STALE_NAN_BITS,
    NativeHistogram,
    ResetHint,
)
from ares_otel.model.prometheus.native_to_otlp import WrongHistogram, to_otlp
from ares_otel.model.prometheus.proto.write_bare_pb2 import Sample
from ares_otel.model.prometheus.proto.write_v2_pb2 import Histogram
from ares_otel.receivers.prometheusremotewrite import encoding
from ares_otel.receivers.prometheusremotewrite.encoding import Family
from ares_otel.receivers.prometheusremotewrite.series import MAX_LABELS, MAX_LABELS_BYTES, Series
from ares_otel.receivers.prometheusremotewrite.written import Complaints, Written

MAX_AHEAD_NS = 600 * 10**9
"""How far ahead of Ares's clock a sample may be, as in Prometheus."""
_MS = 10**6
_TRACE_ID, _SPAN_ID = "trace_id", "span_id"
_STALE = STALE_NAN_BITS.to_bytes(8, "big")
_BITS = Struct(">d").pack


class WrongPoint(ValueError):
    """A sample, a histogram or an exemplar that cannot be stored; the message says why."""


class Points:
    """Takes what a request holds, series by series."""

    def __init__(self, now_ns: int, complaints: Complaints) -> None:
        """
        Args:
            now_ns: the time of the request.
        """
        self._latest_ms = (now_ns + MAX_AHEAD_NS) // _MS
        self._complaints = complaints
        self._families: dict[Family, list[bytes]] = {}
        self._places: dict[Series, list[tuple[int, Family, int]]] | None = None
        self._exemplars: dict[Series, list[Exemplar]] = {}
        self.samples = 0
        self.histograms = 0
        self.rejected = 0
        self.exemplars = 0
        self.left_exemplars = 0

    def expect_exemplars(self) -> None:
        """The request has some: from now on it is noted where the points of a series stand."""
        self._places = {}

    def add_samples(self, series: Series, samples: Iterable[Sample], start_ms: int = 0) -> None:
        """Adds points of a number."""
        points = self._families.get(series.family)
        if points is None:
            points = self._families[series.family] = []
        attributes, latest = series.attributes, self._latest_ms
        for sample in samples:
            time = sample.timestamp
            if not 0 <= time <= latest:
                self._reject(series, WrongPoint(self._untimely(time)))
                continue
            value = sample.value
            start = self._start(series, sample.start_timestamp or start_ms, time)
            if value != value and _BITS(value) == _STALE:
                point = encoding.absent_point(time * _MS, start, attributes)
            else:
                point = encoding.number_point(time * _MS, start, value, attributes)
            if self._places is not None:
                self._places.setdefault(series, []).append((time, series.family, len(points)))
            points.append(point)
            self.samples += 1

    def add_histograms(self, series: Series, histograms: Iterable[bytes], start_ms: int = 0) -> None:
        """Adds native histograms, as both versions encode them."""
        for encoded in histograms:
            try:
                self._add_histogram(series, encoded, start_ms)
            except (WrongPoint, WrongHistogram) as error:
                self._reject(series, error)

    def add_exemplar(self, series: Series, labels: Sequence[bytes], value: float, time_ms: int) -> None:
        """Adds an exemplar. Its labels are names and values that take turns."""
        try:
            made = _exemplar(labels, value, self._checked(time_ms) * _MS)
        except WrongPoint as error:
            self.left_exemplars += 1
            self._complaints.add(f"an exemplar of {series.name[:200]}: {error}")
        else:
            self._exemplars.setdefault(series, []).append(made)

    def finish(self, *, lonely: bool) -> tuple[bytes, Written]:
        """The request in OTLP, and what is in it. An exemplar goes to the point of its series with its time, or the
        next one, or else the last one.

        Args:
            lonely: whether the sender is told of an exemplar whose series has no point in the request.
        """
        for series, exemplars in self._exemplars.items():
            places = sorted((self._places or {}).get(series, ()), key=itemgetter(0))
            if not places:
                self.left_exemplars += len(exemplars)
                if lonely:
                    self._complaints.add(f"an exemplar of {series.name[:200]}, of which the request has no sample")
                continue
            self.exemplars += len(exemplars)
            times = [place[0] for place in places]
            for exemplar in exemplars:
                at = bisect_left(times, exemplar.time_unix_nano // _MS)
                _, family, index = places[min(at, len(places) - 1)]
                points = self._families[family]
                points[index] = _with_exemplar(points[index], family.kind, exemplar)
        payload = encoding.request_of({family: points for family, points in self._families.items() if points})
        return payload, Written(self.samples, self.histograms, self.exemplars)

    def _add_histogram(self, series: Series, encoded: bytes, start_ms: int) -> None:
        try:
            told = Histogram.FromString(encoded)
        except DecodeError:
            raise WrongPoint("a histogram is no valid protobuf message") from None
        time = self._checked(told.timestamp)
        point = to_otlp(native_of(told))
        point.time_unix_nano = time * _MS
        point.start_time_unix_nano = self._start(series, told.start_timestamp or start_ms, time, cumulative=True)
        point.attributes.extend(NumberDataPoint.FromString(series.attributes).attributes)
        gauge = told.reset_hint == Histogram.RESET_HINT_GAUGE
        family = series.histograms(custom=told.schema == CUSTOM_BUCKETS, gauge=gauge)
        points = self._families.setdefault(family, [])
        if self._places is not None:
            self._places.setdefault(series, []).append((time, family, len(points)))
        points.append(point.SerializeToString())
        self.histograms += 1

    def _start(self, series: Series, start_ms: int, time_ms: int, *, cumulative: bool = False) -> int:
        """When the series began, nanoseconds; 0 for unknown. One behind the point says nothing."""
        if not 0 < start_ms <= time_ms or not (cumulative or series.cumulative):
            return 0
        return start_ms * _MS

    def _checked(self, time_ms: int) -> int:
        if not 0 <= time_ms <= self._latest_ms:
            raise WrongPoint(self._untimely(time_ms))
        return time_ms

    def _untimely(self, time_ms: int) -> str:
        if time_ms < 0:
            return "the time is before 1970"
        return "the time is more than ten minutes ahead of Ares's clock"

    def _reject(self, series: Series, error: ValueError) -> None:
        self.rejected += 1
        self._complaints.add(f"{series.name[:200]}: {error}")


def native_of(told: Histogram) -> NativeHistogram:
    """A histogram of either version as the model has it. Raises WrongPoint."""
    integer = told.WhichOneof("count") != "count_float"
    positive: tuple[float, ...]
    negative: tuple[float, ...]
    if integer:
        positive, negative = _summed(told.positive_deltas), _summed(told.negative_deltas)
        wrong = told.positive_counts or told.negative_counts or told.WhichOneof("zero_count") == "zero_count_float"
    else:
        positive, negative = tuple(told.positive_counts), tuple(told.negative_counts)
        wrong = told.positive_deltas or told.negative_deltas or told.WhichOneof("zero_count") == "zero_count_int"
    if wrong:
        raise WrongPoint("a histogram mixes whole counts and counts with a fraction")
    return NativeHistogram(
        schema=told.schema,
        count=told.count_int if integer else told.count_float,
        sum=told.sum,
        zero_threshold=told.zero_threshold,
        zero_count=told.zero_count_int if integer else told.zero_count_float,
        positive_spans=tuple((span.offset, span.length) for span in told.positive_spans),
        positive_counts=positive,
        negative_spans=tuple((span.offset, span.length) for span in told.negative_spans),
        negative_counts=negative,
        custom_values=tuple(told.custom_values),
        reset_hint=ResetHint(told.reset_hint) if 0 <= told.reset_hint <= 3 else ResetHint.UNKNOWN,
    )


def _summed(deltas: Iterable[int]) -> tuple[int, ...]:
    count = 0
    counts = []
    for delta in deltas:
        count += delta
        counts.append(count)
    return tuple(counts)


def _exemplar(labels: Sequence[bytes], value: float, time_ns: int) -> Exemplar:
    if len(labels) > 2 * MAX_LABELS or sum(map(len, labels)) > MAX_LABELS_BYTES:
        raise WrongPoint("it has too many labels, or too long ones")
    if len(labels) % 2:
        raise WrongPoint("a label has a name and no value")
    made = Exemplar(time_unix_nano=time_ns, as_double=value)
    seen: set[str] = set()
    try:
        for at in range(0, len(labels), 2):
            name, text = labels[at].decode(), labels[at + 1].decode()
            if not name or name in seen:
                raise WrongPoint("a label has no name, or stands twice")
            seen.add(name)
            if name == _TRACE_ID and (found := _id(text, 16)):
                made.trace_id = found
            elif name == _SPAN_ID and (found := _id(text, 8)):
                made.span_id = found
            else:
                made.filtered_attributes.add(key=name).value.string_value = text
    except UnicodeDecodeError:
        raise WrongPoint("a label is not UTF-8") from None
    return made


def _id(text: str, size: int) -> bytes:
    """An id written in hex, lower case as OpenTelemetry's; else nothing, and the label stays a label."""
    if len(text) != 2 * size or text != text.lower():
        return b""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if len(found) == size and any(found) else b""


def _with_exemplar(point: bytes, kind: int, exemplar: Exemplar) -> bytes:
    message: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint
    if kind == encoding.EXPONENTIAL:
        message = ExponentialHistogramDataPoint.FromString(point)
    elif kind == encoding.HISTOGRAM:
        message = HistogramDataPoint.FromString(point)
    else:
        message = NumberDataPoint.FromString(point)
    message.exemplars.append(exemplar)
    return message.SerializeToString()
