"""Parts of series, and how they become whole ones: sorted by labels, each time once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.prometheus.native_histogram import STALE_NAN, STALE_NAN_BITS, NativeHistogram

Labels = tuple[tuple[str, str], ...]
"""Sorted by name (as bytes of UTF-8), each once, `__name__` among them, none with an empty value."""
Times = NDArray[np.int64]
Values = NDArray[np.float64]
_END = NativeHistogram(schema=0, count=0, sum=STALE_NAN)


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
    and others have numbers, the oldest one with a sample says which of them the series has. Of the others the ends are
    kept: a Prometheus that writes remotely says with a number that a series of native histograms ended."""
    found: dict[Labels, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if len(piece.timestamps):
            found[piece.labels].append(piece)
    return [_joined(found[labels], newest_only=newest_only) for labels in sorted(found, key=order_of)]


def order_of(labels: Iterable[tuple[str, str]], *before: str) -> str:
    """A text that is ordered as labels are, or these texts with labels behind them; no label holds a NUL. Where a
    hundred thousand are sorted, comparing tuples keeps all other threads waiting for a second or two."""
    return "\0".join([*before, *chain.from_iterable(labels)])


def _ends(part: Piece) -> NDArray[np.bool_]:
    ends: NDArray[np.bool_] = part.values.view(np.uint64) == STALE_NAN_BITS
    return ends


def _as_ends(part: Piece, first: Piece) -> Piece:
    """The part itself where it has what the series has, else its ends alone."""
    if (part.histograms is None) == (first.histograms is None):
        return part
    kept = _ends(part)
    ends = None if first.histograms is None else [_END] * int(kept.sum())
    return replace(part, timestamps=part.timestamps[kept], values=part.values[kept], histograms=ends)


def _joined(parts: list[Piece], *, newest_only: bool) -> Piece:
    if len(parts) == 1:
        return parts[0]
    parts.sort(key=lambda part: part.age)
    first = next((part for part in parts if not _ends(part).all()), parts[0])
    parts = [_as_ends(part, first) for part in parts]
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
