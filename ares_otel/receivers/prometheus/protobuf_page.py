"""Reads Prometheus's protobuf format: one `MetricFamily` after another, each behind its length.

Source: prometheus/client_model, metrics.proto; prometheus.io, "Native histograms". A family becomes the samples that
its text would have, except for native histograms, which are one sample each.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from itertools import accumulate

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from ares_otel.model.prometheus.native_histogram import (
    CUSTOM_BUCKETS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    NativeHistogram,
    ResetHint,
    Spans,
)
from ares_otel.model.prometheus.proto import exposition_pb2 as proto
from ares_otel.receivers.prometheus.page import (
    MAX_HELP,
    MAX_SAMPLES,
    Exemplar,
    Family,
    Known,
    Page,
    Pairs,
    Sample,
    Series,
    WrongPage,
    check_labels,
    check_time,
)
from ares_otel.receivers.prometheus.text_page import MAX_EXEMPLAR_CHARACTERS

MAX_BUCKETS = 20_000
"""Of one native histogram."""
_TYPES = {
    proto.COUNTER: "counter",
    proto.GAUGE: "gauge",
    proto.SUMMARY: "summary",
    proto.UNTYPED: "unknown",
    proto.HISTOGRAM: "histogram",
    proto.GAUGE_HISTOGRAM: "gaugehistogram",
}


def read_protobuf(body: bytes, known: Known, *, native: bool, classic: bool) -> Page:
    """Reads a page.

    Args:
        known: series of this target that were read before; new ones are added.
        native: whether native histograms are taken; else the classic buckets of all.
        classic: whether the classic buckets are taken also where there are native ones that are.

    Raises:
        WrongPage: it is none; with the number of the family.
    """
    reader = _Reader(known, native, classic)
    number = 1
    try:
        for message in _messages(body):
            family = proto.MetricFamily()
            try:
                family.ParseFromString(message)
            except DecodeError:
                raise WrongPage("it is not a valid MetricFamily") from None
            reader.read(family)
            number += 1
    except WrongPage as error:
        raise WrongPage(f"family {number}: {error}") from None
    return reader.page


def _messages(body: bytes) -> Iterator[bytes]:
    at, view = 0, memoryview(body)
    while at < len(body):
        size = shift = 0
        while True:
            if at >= len(body) or shift > 28:
                raise WrongPage("its length cannot be read")
            byte = body[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if size > len(body) - at:
            raise WrongPage("it is cut short")
        yield bytes(view[at : at + size])
        at += size


class _Reader:
    def __init__(self, known: Known, native: bool, classic: bool) -> None:
        self.page = Page()
        self._known = known
        self._native = native
        self._classic = classic

    def read(self, family: proto.MetricFamily) -> None:
        name, kind = _text(family.name), _TYPES.get(family.type, "unknown")
        if not name:
            raise WrongPage("it has no name")
        if "\0" in name:
            raise WrongPage("a name holds a NUL")
        help_, unit = (_text(text)[:MAX_HELP].replace("\0", "") for text in (family.help, family.unit))
        self.page.families[name] = Family(name, kind, help_, unit)
        for metric in family.metric:
            labels = _labels(metric.label)
            time_ms = check_time(metric.timestamp_ms) if metric.HasField("timestamp_ms") else None
            if kind == "counter":
                self._began(name, labels, metric.counter)
                self._add(name, labels, metric.counter.value, time_ms, _exemplars(metric.counter))
            elif kind == "gauge":
                self._add(name, labels, metric.gauge.value, time_ms)
            elif kind == "unknown":
                self._add(name, labels, metric.untyped.value, time_ms)
            elif kind == "summary":
                self._summary(name, labels, metric.summary, time_ms)
            else:
                self._histogram(name, kind, labels, metric.histogram, time_ms)

    def _summary(self, name: str, labels: Pairs, summary: proto.Summary, time_ms: int | None) -> None:
        self._began(name, labels, summary)
        for one in summary.quantile:
            self._add(name, (*labels, ("quantile", _bound(one.quantile))), one.value, time_ms)
        self._add(f"{name}_sum", labels, summary.sample_sum, time_ms)
        self._add(f"{name}_count", labels, float(summary.sample_count), time_ms)

    def _histogram(self, name: str, kind: str, labels: Pairs, one: proto.Histogram, time_ms: int | None) -> None:
        self._began(name, labels, one)
        native = self._native and _is_native(one)
        if native:
            exemplars = tuple(_exemplar(exemplar) for exemplar in one.exemplars) or _bucket_exemplars(one)
            self._add(name, labels, _native(one, gauge=kind == "gaugehistogram"), time_ms, exemplars)
        if native and not (self._classic and one.bucket):
            return
        count = one.sample_count_float if one.sample_count_float > 0 else float(one.sample_count)
        infinite = False
        for bucket in one.bucket:
            infinite = infinite or bucket.upper_bound == math.inf
            value = bucket.cumulative_count_float if one.sample_count_float > 0 else float(bucket.cumulative_count)
            with_le = (*labels, ("le", _bound(bucket.upper_bound)))
            self._add(f"{name}_bucket", with_le, value, time_ms, _exemplars(bucket))
        if not infinite:
            self._add(f"{name}_bucket", (*labels, ("le", "+Inf")), count, time_ms)
        gauge = "g" if kind == "gaugehistogram" else ""
        self._add(f"{name}_{gauge}sum", labels, one.sample_sum, time_ms)
        self._add(f"{name}_{gauge}count", labels, count, time_ms)

    def _began(self, name: str, labels: Pairs, holder: proto.Counter | proto.Summary | proto.Histogram) -> None:
        if holder.HasField("created_timestamp"):
            self.page.created[name, tuple(sorted(labels))] = _seconds(holder.created_timestamp)

    def _add(
        self,
        name: str,
        labels: Pairs,
        value: float | NativeHistogram,
        time_ms: int | None,
        exemplars: tuple[Exemplar, ...] = (),
    ) -> None:
        key: Hashable = (name, labels)
        series = self._known.get(key)
        if series is None:
            check_labels(name, labels)
            series = self._known[key] = Series(key, name, labels)
        if len(self.page.samples) >= MAX_SAMPLES:
            raise WrongPage(f"the page has more than {MAX_SAMPLES:,} samples")
        self.page.samples.append(Sample(series, value, time_ms, exemplars))


def _labels(labels: Iterable[proto.LabelPair]) -> Pairs:
    pairs = tuple((_text(one.name), _text(one.value)) for one in labels)
    for name, value in pairs:
        if not name or name == "__name__":
            raise WrongPage("a label has no name, or is called __name__")
        if "\0" in name or "\0" in value:
            raise WrongPage("a label holds a NUL")
    return pairs


def _text(value: str | bytes) -> str:
    """A text of the page. In proto2 nobody looks whether it is one: what is not UTF-8 comes as bytes."""
    if isinstance(value, bytes):
        raise WrongPage("a text is not UTF-8")
    return value


def _bound(value: float) -> str:
    """A bound or a quantile as the text formats write it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9


def _exemplars(holder: proto.Counter | proto.Bucket) -> tuple[Exemplar, ...]:
    return (_exemplar(holder.exemplar),) if holder.HasField("exemplar") else ()


def _bucket_exemplars(one: proto.Histogram) -> tuple[Exemplar, ...]:
    return tuple(_exemplar(bucket.exemplar) for bucket in one.bucket if bucket.HasField("exemplar"))


def _exemplar(one: proto.Exemplar) -> Exemplar:
    labels = _labels(one.label)
    if sum(len(name) + len(value) for name, value in labels) > MAX_EXEMPLAR_CHARACTERS:
        raise WrongPage(f"the labels of an exemplar have more than {MAX_EXEMPLAR_CHARACTERS} characters")
    time_ms = check_time(round(_seconds(one.timestamp) * 1000)) if one.HasField("timestamp") else None
    return Exemplar(labels, one.value, time_ms)


def _is_native(one: proto.Histogram) -> bool:
    """As Prometheus tells them apart: it has spans, or says where zero ends, or counts zeros. One without measurements
    has a span of no buckets."""
    return bool(
        one.positive_span
        or one.negative_span
        or one.zero_threshold > 0
        or one.zero_count > 0
        or one.zero_count_float > 0
    )


def _native(one: proto.Histogram, *, gauge: bool) -> NativeHistogram:
    schema = one.schema
    if schema != CUSTOM_BUCKETS and not MIN_SCHEMA <= schema <= MAX_SCHEMA:
        raise WrongPage(f"a native histogram has a schema outside {MIN_SCHEMA} to {MAX_SCHEMA}")
    floats = one.sample_count_float > 0 or one.zero_count_float > 0
    positive = _spans(one.positive_span)
    negative = _spans(one.negative_span)
    return NativeHistogram(
        schema=schema,
        count=one.sample_count_float if floats else float(one.sample_count),
        sum=one.sample_sum,
        zero_threshold=one.zero_threshold,
        zero_count=one.zero_count_float if floats else float(one.zero_count),
        positive_spans=positive,
        positive_counts=_counts(positive, one.positive_count if floats else _summed(one.positive_delta)),
        negative_spans=negative,
        negative_counts=_counts(negative, one.negative_count if floats else _summed(one.negative_delta)),
        reset_hint=ResetHint.GAUGE if gauge else ResetHint.UNKNOWN,
    )


def _spans(spans: Iterable[proto.BucketSpan]) -> Spans:
    return tuple((one.offset, one.length) for one in spans)


def _summed(deltas: Iterable[int]) -> list[float]:
    return [float(count) for count in accumulate(deltas)]


def _counts(spans: Spans, counts: Iterable[float]) -> tuple[float, ...]:
    made = tuple(counts)
    if sum(length for _, length in spans) != len(made):
        raise WrongPage("a native histogram's spans and its buckets are not as many")
    if len(made) > MAX_BUCKETS:
        raise WrongPage(f"a native histogram has more than {MAX_BUCKETS:,} buckets")
    return made
