"""Chunks of native histograms, in Prometheus's encoding of histograms with float counts.

Source: Prometheus, `tsdb/docs/format/chunks.md`. A chunk has the number of its samples in two bytes, a byte that says
what is known about counter resets, the layout of the buckets once, then samples; times as differences of differences,
everything else as in `xor_chunks`.

A reader takes every sample but the first of a chunk for one without a counter reset. So a chunk ends where counts go
down, and where the layout changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ares_otel.model.prometheus.bit_writer import BitWriter, XorValue
from ares_otel.model.prometheus.native_histogram import (
    CUSTOM_BUCKETS,
    STALE_NAN,
    NativeHistogram,
    ResetHint,
    Spans,
    is_stale_bits,
)
from ares_otel.model.prometheus.xor_chunks import SAMPLES

_RESETS = {ResetHint.YES: 0b10000000, ResetHint.GAUGE: 0b11000000}
_POWER_OF_TWO = 0.5
"""What `frexp` says about one."""
_EXPONENTS = range(-242, 12)
_EXPONENT_OFFSET = 243
_OTHER_THRESHOLD = 255
_MILLI = 1000
_MAX_MILLI_BOUND = 33_554_430
_STALE = NativeHistogram(schema=0, count=0, sum=STALE_NAN)


@dataclass(frozen=True, slots=True)
class HistogramChunk:
    """One chunk."""

    data: bytes
    min_time: int
    """Milliseconds since 1970."""
    max_time: int


def histogram_chunks(timestamps: Sequence[int], histograms: Sequence[NativeHistogram]) -> Iterator[HistogramChunk]:
    """The samples of one series, by time. One whose sum is `STALE_NAN` ends the series."""
    begin = 0
    samples = [_STALE if is_stale_bits(histogram.sum) else histogram for histogram in histograms]
    for i in range(1, len(samples) + 1):
        full = i == len(samples) or i - begin == SAMPLES
        if full or not _continues(samples[i - 1], samples[i]):
            data = _encoded(timestamps[begin:i], samples[begin:i])
            yield HistogramChunk(data, timestamps[begin], timestamps[i - 1])
            begin = i


def _continues(before: NativeHistogram, after: NativeHistogram) -> bool:
    """Whether two samples can be in one chunk."""
    if before is _STALE or after is _STALE or _layout(before) != _layout(after):
        return False
    if ResetHint.GAUGE in (before.reset_hint, after.reset_hint):
        return before.reset_hint == after.reset_hint
    return (
        after.reset_hint != ResetHint.YES
        and after.count >= before.count
        and after.zero_count >= before.zero_count
        and all(new >= old for new, old in zip(after.positive_counts, before.positive_counts, strict=True))
        and all(new >= old for new, old in zip(after.negative_counts, before.negative_counts, strict=True))
    )


def _layout(histogram: NativeHistogram) -> tuple[object, ...]:
    return (
        histogram.schema,
        histogram.zero_threshold,
        histogram.positive_spans,
        histogram.negative_spans,
        histogram.custom_values,
    )


def _numbers(histogram: NativeHistogram) -> tuple[float, ...]:
    """Everything of a sample but its time, in the order in which it is written."""
    return (
        histogram.count,
        histogram.zero_count,
        histogram.sum,
        *histogram.positive_counts,
        *histogram.negative_counts,
    )


def _encoded(timestamps: Sequence[int], samples: Sequence[NativeHistogram]) -> bytes:
    first = samples[0]
    writer = BitWriter()
    writer.write(len(samples), 16)
    writer.write(_RESETS.get(first.reset_hint, 0), 8)
    _write_threshold(first.zero_threshold, writer)
    writer.signed(first.schema)
    _write_spans(first.positive_spans, writer)
    _write_spans(first.negative_spans, writer)
    if first.schema == CUSTOM_BUCKETS:
        writer.unsigned(len(first.custom_values))
        for bound in first.custom_values:
            _write_bound(bound, writer)
    writer.signed(timestamps[0])
    values = []
    for number in _numbers(first):
        writer.double(number)
        values.append(XorValue(number))
    delta = 0
    for i in range(1, len(samples)):
        before, delta = delta, timestamps[i] - timestamps[i - 1]
        writer.signed(delta - before)
        for value, number in zip(values, _numbers(samples[i]), strict=True):
            value.write(number, writer)
    return writer.bytes()


def _write_threshold(threshold: float, writer: BitWriter) -> None:
    """A byte for zero and for the usual powers of two."""
    mantissa, exponent = math.frexp(threshold)
    if not threshold:
        writer.write(0, 8)
    elif mantissa == _POWER_OF_TWO and exponent in _EXPONENTS:
        writer.write(exponent + _EXPONENT_OFFSET, 8)
    else:
        writer.write(_OTHER_THRESHOLD, 8)
        writer.double(threshold)


def _write_spans(spans: Spans, writer: BitWriter) -> None:
    writer.unsigned(len(spans))
    for offset, length in spans:
        writer.unsigned(length)
        writer.signed(offset)


def _write_bound(bound: float, writer: BitWriter) -> None:
    """A few bits for bounds that are a multiple of 0.001 and not too large."""
    if 0 <= bound * _MILLI <= _MAX_MILLI_BOUND:
        milli = math.floor(bound * _MILLI + 0.5)
        if milli / _MILLI == bound:
            writer.unsigned(milli + 1)
            return
    writer.unsigned(0)
    writer.double(bound)
