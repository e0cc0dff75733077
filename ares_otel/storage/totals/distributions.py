"""Histograms of deltas added up. Pure: no database."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import add
from typing import Any

MAX_BUCKETS = 320
"""Of an exponential total on each side. Where the points of a long time spread over more, neighbours are merged."""
MAX_COUNT = 2**63 - 1
"""What the database holds; a count stays there."""
MOST_SHIFT = 6
"""Of a point that is finer than the total by more, buckets are added one by one."""

_Dense = tuple[int, list[int]]
"""The index of the first bucket, and the counts from there on."""

COLUMNS = (
    "count",
    "sum",
    "explicit_bounds",
    "bucket_counts",
    "scale",
    "zero_count",
    "zero_threshold",
    "positive_offset",
    "positive_counts",
    "negative_offset",
    "negative_counts",
)
"""Of metric_totals and metric_distributions."""


@dataclass(slots=True)
class Explicit:
    """A histogram with explicit bounds. Bounds that not all points had are dropped: the counts at the others stay
    exact, and none of them ever falls."""

    count: int = 0
    sum: float | None = 0.0
    """None once a point had none."""
    bounds: tuple[float, ...] = ()
    counts: list[int] = field(default_factory=list)
    """One more than bounds; empty before the first point."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of metric_distributions, or a total. Buckets that do not fit their bounds are none."""
        self.count = min(self.count + row["count"], MAX_COUNT)
        self.sum = _plus(self.sum, row["sum"])
        bounds = tuple(row["explicit_bounds"] or ())
        counts = list(row["bucket_counts"] or ())
        if len(counts) != len(bounds) + 1:
            bounds, counts = (), [row["count"]]
        if not self.counts:
            self.bounds, self.counts = bounds, [0] * len(counts)
        elif bounds != self.bounds:
            common = tuple(bound for bound in self.bounds if bound in set(bounds))
            self.counts = _coarser(self.bounds, self.counts, common)
            counts = _coarser(bounds, counts, common)
            self.bounds = common
        self.counts = _sums(self.counts, counts)

    def columns(self) -> tuple[Any, ...]:
        """Values of `COLUMNS`."""
        return (self.count, self.sum, list(self.bounds), self.counts, *[None] * 7)


def _coarser(bounds: Sequence[float], counts: Sequence[int], kept: Sequence[float]) -> list[int]:
    """Counts by fewer of the bounds."""
    made = [0] * (len(kept) + 1)
    for place, count in enumerate(counts):
        upper = bounds[place] if place < len(bounds) else math.inf
        made[bisect_left(kept, upper)] += count
    return made


@dataclass(slots=True)
class Exponential:
    """An exponential histogram, at the least scale of its points and with the widest of their zero buckets."""

    count: int = 0
    sum: float | None = 0.0
    scale: int | None = None
    """None before the first point."""
    zero_count: int = 0
    zero_threshold: float = 0.0
    _positive: _Dense = field(default_factory=lambda: (0, []))
    _negative: _Dense = field(default_factory=lambda: (0, []))

    @property
    def positive(self) -> dict[int, int]:
        """Counts above 0 by index."""
        return _by_index(self._positive)

    @property
    def negative(self) -> dict[int, int]:
        """Counts above 0 by index."""
        return _by_index(self._negative)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of metric_distributions, or a total."""
        self.count = min(self.count + row["count"], MAX_COUNT)
        self.sum = _plus(self.sum, row["sum"])
        self.zero_count = min(self.zero_count + (row["zero_count"] or 0), MAX_COUNT)
        if not self._add_at_once(row):
            self._add_each(row)

    def _add_at_once(self, row: Mapping[str, Any]) -> bool:
        """The buckets as whole lists, which is most of the work of adding up; False, and nothing is done, where a point
        changes the scale or the zero bucket, or is far from the others."""
        if self.zero_threshold or row["zero_threshold"]:
            return False
        scale = row["scale"] if self.scale is None else self.scale
        shift = row["scale"] - scale
        if not 0 <= shift <= MOST_SHIFT:
            return False
        positive: _Dense | None = self._positive
        negative: _Dense | None = self._negative
        if row["positive_counts"]:
            positive = _together(self._positive, _dense_of(row, "positive"), shift)
        if row["negative_counts"]:
            negative = _together(self._negative, _dense_of(row, "negative"), shift)
        if positive is None or negative is None:
            return False
        self.scale, self._positive, self._negative = scale, positive, negative
        return True

    def _add_each(self, row: Mapping[str, Any]) -> None:
        """The buckets one by one, whatever they are."""
        scale = row["scale"] if self.scale is None else min(self.scale, row["scale"])
        sides = []
        for mine, others in ((self.positive, _dense_of(row, "positive")), (self.negative, _dense_of(row, "negative"))):
            counts = _merged(mine, (scale if self.scale is None else self.scale) - scale)
            for index, count in _merged(_by_index(others), row["scale"] - scale).items():
                counts[index] = min(counts.get(index, 0) + count, MAX_COUNT)
            sides.append(counts)
        self.zero_threshold = max(self.zero_threshold, row["zero_threshold"] or 0.0)
        if self.zero_threshold:
            for counts in sides:
                self._into_zero(counts, scale)
        while max(map(_width, sides)) > MAX_BUCKETS:
            scale -= 1
            sides = [_merged(counts, 1) for counts in sides]
        self.scale = scale
        self._positive, self._negative = map(_dense, sides)

    def _into_zero(self, counts: dict[int, int], scale: int) -> None:
        """Buckets that lie in the zero bucket as a whole are part of it."""
        last = math.log2(self.zero_threshold) * 2.0**scale - 1
        for index in [index for index in counts if index <= last]:
            self.zero_count = min(self.zero_count + counts.pop(index), MAX_COUNT)

    def columns(self) -> tuple[Any, ...]:
        """Values of `COLUMNS`."""
        return (
            self.count,
            self.sum,
            None,
            None,
            self.scale,
            self.zero_count,
            self.zero_threshold,
            *_trimmed(self._positive),
            *_trimmed(self._negative),
        )


def _dense_of(row: Mapping[str, Any], side: str) -> _Dense:
    return row[f"{side}_offset"] or 0, row[f"{side}_counts"] or []


def _together(one: _Dense, other: _Dense, shift: int) -> _Dense | None:
    """Both, the other at a scale that is less by `shift`; None where they are too far from each other."""
    offset, counts = _halved(*other, shift) if shift else other
    if not one[1]:
        return None if len(counts) > MAX_BUCKETS else (offset, list(counts))
    first, mine = one
    if first == offset and len(mine) == len(counts):
        return first, _sums(mine, counts)
    end = offset + len(counts)
    begin = min(first, offset)
    if max(first + len(mine), end) - begin > MAX_BUCKETS:
        return None
    made = [0] * (first - begin) + mine + [0] * (end - first - len(mine))
    part = slice(offset - begin, end - begin)
    made[part] = _sums(made[part], counts)
    return begin, made


def _halved(offset: int, counts: Sequence[int], shift: int) -> _Dense:
    """The buckets at a scale that is less by `shift`."""
    size = 1 << shift
    padded = iter([0] * (offset % size) + list(counts))
    return offset >> shift, [sum(group) for group in zip_longest(*[padded] * size, fillvalue=0)]


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Both of the same length."""
    made = list(map(add, one, other))
    return made if not made or max(made) <= MAX_COUNT else [min(count, MAX_COUNT) for count in made]


def _by_index(dense: _Dense) -> dict[int, int]:
    return {index: count for index, count in enumerate(dense[1], dense[0]) if count}


def _merged(counts: Mapping[int, int], shift: int) -> dict[int, int]:
    made: dict[int, int] = {}
    for index, count in counts.items():
        made[index >> shift] = min(made.get(index >> shift, 0) + count, MAX_COUNT)
    return made


def _width(counts: Mapping[int, int]) -> int:
    return max(counts) - min(counts) + 1 if counts else 0


def _dense(counts: Mapping[int, int]) -> _Dense:
    if not counts:
        return 0, []
    first, last = min(counts), max(counts)
    return first, [counts.get(index, 0) for index in range(first, last + 1)]


def _trimmed(dense: _Dense) -> tuple[int | None, list[int] | None]:
    """Offset and counts from the first to the last above 0; None of both where there are none."""
    offset, counts = dense
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    if not end:
        return None, None
    begin = 0
    while not counts[begin]:
        begin += 1
    return offset + begin, counts[begin:end]


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
