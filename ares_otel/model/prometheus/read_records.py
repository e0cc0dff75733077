"""Samples as the bytes that they have in a `TimeSeries` of remote read, without an object for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.prometheus.native_histogram import NativeHistogram, Spans
from ares_otel.model.prometheus.proto.remote_v1_pb2 import BucketSpan, Histogram

_SAMPLE_TAG, _VALUE_TAG, _TIME_TAG = 0x12, 0x09, 0x10
_VALUE_AT, _TIME_AT = 3, 12
"""Where value and time begin in a record: tag, length and tag stand before the one, a tag before the other."""
_VARINT_BYTES = 10
_EXACT = 2.0**53
"""From here on a double may stand for several whole numbers."""
_LIMITS = np.array([1 << (7 * size) for size in range(1, 9)], np.int64)


def record_sizes(offsets: NDArray[np.int64], timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bytes the samples of each series take; those of series i stand at `offsets[i]:offsets[i + 1]`."""
    if not len(timestamps):
        return np.zeros(len(offsets) - 1, np.int64)
    least, most = _varint_sizes(np.array([timestamps.min(), timestamps.max()])).tolist()
    if least == most:  # as all times of this century's decades have
        sizes: NDArray[np.int64] = np.diff(offsets) * (_TIME_AT + most)
        return sizes
    ends = np.zeros(len(timestamps) + 1, np.int64)
    np.cumsum(_varint_sizes(timestamps) + _TIME_AT, out=ends[1:])
    return np.diff(ends[offsets])


def records(timestamps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[bytes, NDArray[np.int64]]:
    """Samples one after the other, and where each begins, with the end behind them.

    Args:
        timestamps: milliseconds since 1970.
    """
    sizes = _varint_sizes(timestamps)
    starts = np.zeros(len(timestamps) + 1, np.int64)
    np.cumsum(sizes + _TIME_AT, out=starts[1:])
    made = np.empty(int(starts[-1]), np.uint8)
    begin = starts[:-1]
    made[begin] = _SAMPLE_TAG
    made[begin + 1] = sizes + (_TIME_AT - 2)
    made[begin + 2] = _VALUE_TAG
    doubles = values.astype("<f8").view(np.uint8).reshape(-1, 8)
    for i in range(8):
        made[begin + (_VALUE_AT + i)] = doubles[:, i]
    made[begin + (_TIME_AT - 1)] = _TIME_TAG
    rest = timestamps.view(np.uint64)
    where = begin + _TIME_AT
    for i in range(int(sizes.max(initial=0))):
        if i:
            longer = sizes > i
            if not longer.all():
                rest, where, sizes = rest[longer], where[longer], sizes[longer]
        byte = rest & np.uint64(0x7F)
        made[where + i] = np.where(sizes > i + 1, byte | np.uint64(0x80), byte)
        rest = rest >> np.uint64(7)
    return made.tobytes(), starts


def _varint_sizes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    sizes: NDArray[np.int64] = np.searchsorted(_LIMITS, numbers, side="right") + 1
    return np.where(numbers < 0, _VARINT_BYTES, sizes)


def histogram_message(timestamp: int, histogram: NativeHistogram) -> Histogram:
    """A native histogram; with counts as whole numbers where they are ones."""
    buckets = (*histogram.positive_counts, *histogram.negative_counts)
    whole = all(count.is_integer() and 0 <= count < _EXACT for count in map(float, buckets))
    whole = whole and all(
        float(count).is_integer() and 0 <= count < _EXACT for count in (histogram.count, histogram.zero_count)
    )
    message = Histogram(
        sum=histogram.sum,
        schema=histogram.schema,
        zero_threshold=histogram.zero_threshold,
        positive_spans=_spans(histogram.positive_spans),
        negative_spans=_spans(histogram.negative_spans),
        reset_hint=histogram.reset_hint.name,
        timestamp=timestamp,
        custom_values=histogram.custom_values,
    )
    if whole:
        message.count_int, message.zero_count_int = int(histogram.count), int(histogram.zero_count)
        message.positive_deltas.extend(_deltas(histogram.positive_counts))
        message.negative_deltas.extend(_deltas(histogram.negative_counts))
    else:
        message.count_float, message.zero_count_float = histogram.count, histogram.zero_count
        message.positive_counts.extend(histogram.positive_counts)
        message.negative_counts.extend(histogram.negative_counts)
    return message


def _spans(spans: Spans) -> list[BucketSpan]:
    return [BucketSpan(offset=offset, length=length) for offset, length in spans]


def _deltas(counts: Sequence[float]) -> list[int]:
    """What each differs by from the one before."""
    whole = [int(count) for count in counts]
    return [count - before for before, count in zip([0, *whole], whole, strict=False)]
