"""Histograms of deltas added up. Pure: no database."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_BUCKETS = 320
"""Of an exponential total on each side. Where the points of a long time spread over more, neighbours are merged."""
MAX_COUNT = 2**63 - 1
"""What the database holds; a count stays there."""

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
        """Adds a row of metric_distributions, or a total."""
        self.count = min(self.count + row["count"], MAX_COUNT)
        self.sum = _plus(self.sum, row["sum"])
        bounds = tuple(row["explicit_bounds"] or ())
        counts = list(row["bucket_counts"] or (row["count"],))
        if not self.counts:
            self.bounds, self.counts = bounds, [0] * len(counts)
        elif bounds != self.bounds:
            common = tuple(bound for bound in self.bounds if bound in set(bounds))
            self.counts = _coarser(self.bounds, self.counts, common)
            counts = _coarser(bounds, counts, common)
            self.bounds = common
        self.counts = [min(mine + other, MAX_COUNT) for mine, other in zip(self.counts, counts, strict=True)]

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
    positive: dict[int, int] = field(default_factory=dict)
    """Counts by index."""
    negative: dict[int, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of metric_distributions, or a total."""
        self.count = min(self.count + row["count"], MAX_COUNT)
        self.sum = _plus(self.sum, row["sum"])
        self.zero_count = min(self.zero_count + (row["zero_count"] or 0), MAX_COUNT)
        scale = row["scale"] if self.scale is None else min(self.scale, row["scale"])
        self._coarser(scale)
        for side, counts in (("positive", self.positive), ("negative", self.negative)):
            shift = row["scale"] - scale
            # The innermost loop of adding up: no calls that can be spared.
            for index, count in enumerate(row[f"{side}_counts"] or (), row[f"{side}_offset"] or 0):
                if count:
                    sum_ = counts.get(index >> shift, 0) + count
                    counts[index >> shift] = sum_ if sum_ < MAX_COUNT else MAX_COUNT
        threshold = row["zero_threshold"] or 0.0
        if threshold > self.zero_threshold:
            self.zero_threshold = threshold
        if self.zero_threshold:
            self._into_zero(self.positive)
            self._into_zero(self.negative)
        while max(map(_width, (self.positive, self.negative))) > MAX_BUCKETS:
            self._coarser(scale := scale - 1)

    def _coarser(self, scale: int) -> None:
        if self.scale is not None and scale < self.scale:
            self.positive = _merged(self.positive, self.scale - scale)
            self.negative = _merged(self.negative, self.scale - scale)
        self.scale = scale

    def _into_zero(self, counts: dict[int, int]) -> None:
        """Buckets that lie in the zero bucket as a whole are part of it."""
        assert self.scale is not None
        last = math.log2(self.zero_threshold) * 2.0**self.scale - 1
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
            *_dense(self.positive),
            *_dense(self.negative),
        )


def _merged(counts: Mapping[int, int], shift: int) -> dict[int, int]:
    made: dict[int, int] = {}
    for index, count in counts.items():
        made[index >> shift] = min(made.get(index >> shift, 0) + count, MAX_COUNT)
    return made


def _width(counts: Mapping[int, int]) -> int:
    return max(counts) - min(counts) + 1 if counts else 0


def _dense(counts: Mapping[int, int]) -> tuple[int | None, list[int] | None]:
    """Offset and counts; None of both where there are none."""
    if not counts:
        return None, None
    first, last = min(counts), max(counts)
    get = counts.get
    return first, [get(index, 0) for index in range(first, last + 1)]


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
