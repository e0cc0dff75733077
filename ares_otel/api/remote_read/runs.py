"""Selected series in portions: what is encoded at once, so that memory stays bounded and nobody waits long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ares_otel.model.prometheus.xor_chunks import SAMPLES
from ares_otel.query.prometheus.select import Selected

PORTION = 100 * SAMPLES
"""Samples that are encoded together; a few arrays of that length stay in the processor's cache."""
_MOST_SERIES = 2000
"""Of one portion, for each has labels of its own."""


@dataclass(frozen=True, slots=True)
class Run:
    """Series `first` to `last` (not included), all with values that are numbers, or one of native histograms."""

    first: int
    last: int
    are_histograms: bool


def runs(selected: Selected) -> Iterator[Run]:
    """All series in order. A run has at most `PORTION` samples, or one series that has more."""
    offsets = selected.offsets.tolist()
    first = 0
    for i in range(len(selected.labels)):
        is_histogram = i in selected.histograms
        too_many = offsets[i + 1] - offsets[first] > PORTION or i - first >= _MOST_SERIES
        if first < i and (is_histogram or too_many):
            yield Run(first, i, are_histograms=False)
            first = i
        if is_histogram:
            yield Run(i, i + 1, are_histograms=True)
            first = i + 1
    if first < len(selected.labels):
        yield Run(first, len(selected.labels), are_histograms=False)
