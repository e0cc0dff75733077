"""An exponential histogram of positive numbers that keeps its size by growing coarser.

Source: OpenTelemetry metrics data model, "ExponentialHistogram": bucket `i` of scale `s` holds the values in
(base^i, base^(i+1)], base = 2^(2^-s).
"""

from __future__ import annotations

import math

MAX_SCALE = 20


def bucket_of(value: float, scale: int) -> int:
    """Index of the bucket of a positive, finite number."""
    fraction, exponent = math.frexp(value)  # value = fraction * 2^exponent, 0.5 <= fraction < 1
    if fraction == 0.5:  # a power of two is the upper bound of its bucket, exactly
        power = exponent - 1
        return (power << scale) - 1 if scale > 0 else (power - 1) >> -scale
    if scale <= 0:
        return (exponent - 1) >> -scale
    # The fraction's logarithm is between -1 and 0: so the sum keeps all digits that there are.
    index = math.ceil(math.ldexp(math.log2(fraction), scale)) - 1 + (exponent << scale)
    return min(max(index, (exponent - 1) << scale), (exponent << scale) - 1)


class ExponentialHistogram:
    """Counts values >= 0 in at most `max_size` buckets, as fine as that allows."""

    __slots__ = ("buckets", "max_size", "scale", "zero_count")

    def __init__(self, max_size: int = 160) -> None:
        """
        Args:
            max_size: buckets between the lowest and the highest, 2 at least.
        """
        self.max_size = max_size
        self.scale = MAX_SCALE
        self.zero_count = 0
        self.buckets: dict[int, int] = {}
        """Count by index, of those that have one."""

    def add(self, value: float, times: int = 1) -> None:
        """Counts a value so many times; what is not above zero counts as zero."""
        if value <= 0:
            self.zero_count += times
            return
        index = bucket_of(value, self.scale)
        if index not in self.buckets:
            low, high = min(self.buckets, default=index), max(self.buckets, default=index)
            low, high = min(low, index), max(high, index)
            shift = 0
            while (high >> shift) - (low >> shift) >= self.max_size:
                shift += 1
            if shift:
                self._coarsen(shift)
                index >>= shift
        self.buckets[index] = self.buckets.get(index, 0) + times

    def dense(self) -> tuple[int, list[int]]:
        """Index of the first bucket, and the counts from there to the last."""
        if not self.buckets:
            return 0, []
        low, high = min(self.buckets), max(self.buckets)
        return low, [self.buckets.get(index, 0) for index in range(low, high + 1)]

    def _coarsen(self, shift: int) -> None:
        """Merges 2^shift neighbours each: an index of scale s is the same index, shifted, of scale s - shift."""
        merged: dict[int, int] = {}
        for index, count in self.buckets.items():
            merged[index >> shift] = merged.get(index >> shift, 0) + count
        self.buckets = merged
        self.scale -= shift
