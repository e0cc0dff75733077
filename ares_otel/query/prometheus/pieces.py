"""Parts of series, and how they become whole ones: sorted by labels, each time once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.prometheus.native_histogram import NativeHistogram

Labels = tuple[tuple[str, str], ...]
"""Sorted by name (as bytes of UTF-8), each once, `__name__` among them, none with an empty value."""
Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of a series, by time."""

    labels: Labels
    kind: str
    age: tuple[datetime, UUID]
    """When the stored series appeared, and which one it is: of two samples of one time that of the older one counts."""
    timestamps: Times
    values: Values
    histograms: Sequence[NativeHistogram] | None = None
    """One for each sample, of a series of native histograms."""

    @property
    def weight(self) -> int:
        """As how many samples it counts where there may be so many."""
        return len(self.timestamps) if self.histograms is None else weight_of(self.histograms)

    def last(self) -> Piece:
        """Its newest sample alone."""
        histograms = None if self.histograms is None else self.histograms[-1:]
        return replace(self, timestamps=self.timestamps[-1:], values=self.values[-1:], histograms=histograms)


def weight_of(histograms: Sequence[NativeHistogram]) -> int:
    """As how many samples native histograms count. A Prometheus counts them by their size, too: two buckets take as
    much as a sample, and everything else as much as eight."""
    return sum(8 + (len(one.positive_counts) + len(one.negative_counts)) // 2 for one in histograms)


def whole(pieces: Sequence[Piece], *, newest_only: bool = False) -> list[Piece]:
    """One piece for each series, sorted by labels. Where some stored series with the same labels have native histograms
    and others have numbers, the oldest one says which of them the series has; the others are left out."""
    found: dict[Labels, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if len(piece.timestamps):
            found[piece.labels].append(piece)
    return [_joined(found[labels], newest_only=newest_only) for labels in sorted(found)]


def _joined(parts: list[Piece], *, newest_only: bool) -> Piece:
    if len(parts) == 1:
        return parts[0]
    parts.sort(key=lambda part: part.age)
    first = parts[0]
    parts = [part for part in parts if (part.histograms is None) == (first.histograms is None)]
    times = np.concatenate([part.timestamps for part in parts])
    order = np.argsort(times, kind="stable")  # of equals the older series first
    times = times[order]
    kept = np.ones(len(times), np.bool_)
    np.not_equal(times[1:], times[:-1], out=kept[1:])
    chosen = order[kept][-1:] if newest_only else order[kept]
    values = np.concatenate([part.values for part in parts])[chosen]
    histograms = None
    if first.histograms is not None:
        every = [histogram for part in parts for histogram in part.histograms or ()]
        histograms = [every[place] for place in chosen]
    return Piece(
        first.labels, first.kind, first.age, times[kept][-1:] if newest_only else times[kept], values, histograms
    )
