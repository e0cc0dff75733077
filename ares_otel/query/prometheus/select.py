"""Which stored series selectors choose, and their samples, under Prometheus's names and labels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray

from ares_otel.model.errors import AresError
from ares_otel.model.prometheus.native_histogram import NativeHistogram
from ares_otel.model.prometheus.selector import Selector
from ares_otel.query.prometheus.columns import TooManySamples
from ares_otel.query.prometheus.index import entries
from ares_otel.query.prometheus.indexing import catch_up
from ares_otel.query.prometheus.pieces import Labels, Piece, weight_of, whole
from ares_otel.query.prometheus.samples import Samples
from ares_otel.query.reader import reading

__all__ = ["Labels", "Selected", "TooManySamples", "TooManySeries", "select"]


class TooManySeries(AresError):
    """The selectors choose too many series; make them choose fewer, or shorten the time range."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Series with their samples. A classic histogram or summary is the several series that Prometheus has for it
    (`_bucket` with `le`, `_sum`, `_count`); an exponential one is one series of native histograms."""

    labels: Sequence[Labels]
    """Sorted; two stored series with the same labels are one here."""
    kinds: Sequence[str]
    """What `# TYPE` would say of its family: counter, gauge, histogram, summary, unknown; of what came from a
    Prometheus also info, stateset and gaugehistogram."""
    offsets: NDArray[np.int64]
    """Samples of series i stand at `offsets[i]:offsets[i + 1]`, by time, one for each time."""
    timestamps: NDArray[np.int64]
    """Milliseconds since 1970."""
    values: NDArray[np.float64]
    """`STALE_NAN`, bit for bit, where the series ends. Of a native histogram: NaN, but for `STALE_NAN`."""
    histograms: Mapping[int, Sequence[NativeHistogram]]
    """By the number of a series of native histograms: one for each of its samples, in order."""

    @property
    def weight(self) -> int:
        """What counts against `max_samples`: a native histogram is several samples."""
        native = sum(weight_of(some) - len(some) for some in self.histograms.values())
        return len(self.timestamps) + native


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

    Counters and histograms that came as deltas are what they add up to; other deltas have no series.
    Ares's own series (service `ares-api`) are among those that are chosen.

    Args:
        newest_only: only the newest sample of each.

    Raises:
        TooManySeries, TooManySamples: more than asked for; the message says what to do.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    pieces: list[Piece] = []
    size = 0
    async with reading(pool, heavy=True) as reader:
        await catch_up(reader)
        samples = Samples(reader, start_ms, end_ms, newest_only=newest_only)
        async for page in entries(reader, selectors):
            for piece in await samples.of(page, most=max_samples - size):
                pieces.append(piece)
                size += piece.weight
                if size > max_samples:
                    raise TooManySamples
            if len(pieces) > max_series and len({piece.labels for piece in pieces}) > max_series:
                raise TooManySeries
    return await asyncio.to_thread(_selected, pieces, newest_only)


def _selected(pieces: Sequence[Piece], newest_only: bool) -> Selected:
    series = whole(pieces, newest_only=newest_only)
    offsets = np.zeros(len(series) + 1, np.int64)
    np.cumsum([len(piece.timestamps) for piece in series], out=offsets[1:])
    return Selected(
        [piece.labels for piece in series],
        [piece.kind for piece in series],
        offsets,
        np.concatenate([np.empty(0, np.int64), *(piece.timestamps for piece in series)]),
        np.concatenate([np.empty(0, np.float64), *(piece.values for piece in series)]),
        {number: piece.histograms for number, piece in enumerate(series) if piece.histograms is not None},
    )
