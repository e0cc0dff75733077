"""Which stored series selectors choose, and their samples, under Prometheus's names and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray

from ares_otel.model.prometheus.native_histogram import NativeHistogram
from ares_otel.model.prometheus.selector import Selector

Labels = tuple[tuple[str, str], ...]
"""Sorted by name (as bytes of UTF-8), each once, `__name__` among them, none with an empty value."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Series with their samples. A classic histogram or summary is the several series that Prometheus has for it
    (`_bucket` with `le`, `_sum`, `_count`); an exponential one is one series of native histograms."""

    labels: Sequence[Labels]
    """Sorted; two stored series with the same labels are one here."""
    kinds: Sequence[str]
    """What `# TYPE` would say of its family: counter, gauge, histogram, summary, unknown."""
    offsets: NDArray[np.int64]
    """Samples of series i stand at `offsets[i]:offsets[i + 1]`, by time, one for each time."""
    timestamps: NDArray[np.int64]
    """Milliseconds since 1970."""
    values: NDArray[np.float64]
    """`STALE_NAN`, bit for bit, where the series ends. Of a native histogram: NaN, but for `STALE_NAN`."""
    histograms: Mapping[int, Sequence[NativeHistogram]]
    """By the number of a series of native histograms: one for each of its samples, in order."""


async def select(
    pool: asyncpg.Pool,
    selectors: Sequence[Selector],
    start_ms: int,
    end_ms: int,
    *,
    max_series: int,
    max_samples: int,
    newest_only: bool = False,
) -> Selected:
    """Series that fit any of the selectors and have a sample from `start_ms` to `end_ms`, both inclusive.

    Args:
        newest_only: only the newest sample of each.

    Raises:
        TooManySeries, TooManySamples: more than asked for; the message says what to do.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    raise NotImplementedError
