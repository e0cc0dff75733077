"""Histograms of durations, as the roll-ups hold them: bucket → count, sparse.

Bucket b holds durations from 2**(b/64) up to 2**((b+1)/64) nanoseconds, bucket -1 those of 0 (`rows/rollups.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import floor

from ares_otel.storage.rows.rollups import PARTS

FRACTIONS = (0.50, 0.95, 0.99)
_STEP = 2.0 ** (1 / PARTS)
_MIDDLE = 2 * _STEP / (1 + _STEP)
"""Times the beginning of a bucket: from there it is as far, in per cent, to the one end as to the other."""

Histogram = dict[int, int]


def add(histogram: Histogram, buckets: Iterable[int], counts: Iterable[int]) -> None:
    """Adds a histogram that is given as two arrays, or several one after the other: a bucket may occur again."""
    for bucket, count in zip(buckets, counts, strict=True):
        histogram[bucket] = histogram.get(bucket, 0) + count


def take(histogram: Histogram, buckets: Iterable[int], counts: Iterable[int]) -> None:
    """Takes out what was added before."""
    for bucket, count in zip(buckets, counts, strict=True):
        left = histogram.get(bucket, 0) - count
        if left > 0:
            histogram[bucket] = left
        else:
            histogram.pop(bucket, None)


def arrays(histogram: Histogram) -> tuple[list[int], list[int]]:
    """The buckets, ascending, and their counts."""
    buckets = sorted(histogram)
    return buckets, list(map(histogram.__getitem__, buckets))


def middle(bucket: int) -> float:
    """The duration that stands for a bucket, in nanoseconds: at most 0.55 % away from any in it."""
    return 0.0 if bucket < 0 else _MIDDLE * 2.0 ** (bucket / PARTS)


def percentiles(
    buckets: Sequence[int], counts: Sequence[int], highest: int, fractions: Sequence[float] = FRACTIONS
) -> list[float]:
    """Percentiles of a histogram that is not empty, in nanoseconds, as `percentile_cont` has them: between the two
    values around `fraction * (number - 1)`.

    Args:
        highest: the longest duration, which is known exactly.
    """
    upto = list(accumulate(counts))
    last = upto[-1] - 1

    def value(number: int) -> float:
        return float(highest) if number >= last else min(middle(buckets[bisect_right(upto, number)]), highest)

    found = []
    for fraction in fractions:
        wanted = fraction * last
        below = floor(wanted)
        low = value(below)
        found.append(low + (wanted - below) * (value(min(below + 1, last)) - low))
    return found
