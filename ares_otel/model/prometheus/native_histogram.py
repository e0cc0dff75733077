"""Native histograms, as Prometheus has them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

STALE_NAN_BITS = 0x7FF0000000000002
STALE_NAN: float = struct.unpack(">d", STALE_NAN_BITS.to_bytes(8, "big"))[0]
"""The value that ends a series. Only its bits tell it from other NaN; they stay as long as nothing is computed."""
CUSTOM_BUCKETS = -53
"""The schema of a histogram with bounds of its own, `custom_values`."""
MIN_SCHEMA, MAX_SCHEMA = -4, 8

Spans = tuple[tuple[int, int], ...]
"""Offset from the end of the span before (of the first one: its index) and how many buckets follow each other."""


class ResetHint(IntEnum):
    """Whether the counts began anew; the numbers are remote write's."""

    UNKNOWN = 0
    YES = 1
    NO = 2
    GAUGE = 3


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """One sample. Bucket i of schema s holds (2^((i-1)·2^-s), 2^(i·2^-s)], one index above OTLP's."""

    schema: int
    count: float
    sum: float
    zero_threshold: float = 0.0
    zero_count: float = 0
    positive_spans: Spans = ()
    positive_counts: tuple[float, ...] = ()
    """Measurements in each bucket, not deltas; as many as the spans have."""
    negative_spans: Spans = ()
    negative_counts: tuple[float, ...] = ()
    custom_values: tuple[float, ...] = ()
    """Upper bounds of schema -53 but +Inf; its buckets are positive ones, from index 0."""
    reset_hint: ResetHint = ResetHint.UNKNOWN


def is_stale_bits(value: float) -> bool:
    """Whether it is the marker that ends a series, bit for bit."""
    return struct.pack(">d", value) == STALE_NAN_BITS.to_bytes(8, "big")
