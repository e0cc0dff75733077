"""Samples of many series as columns: arrays, and no Python object for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.errors import AresError
from ares_otel.query.reader import Reader


class TooManySamples(AresError):
    """The query would read too many samples; shorten its time range, or choose fewer series."""


@dataclass(frozen=True, slots=True)
class NumberColumns:
    """Samples of gauges and sums: those of series i stand at `offsets[i]:offsets[i + 1]`, by time, one a time."""

    series: Sequence[UUID]
    """As they were asked for; some may have no samples."""
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    """Milliseconds since 1970: nanoseconds divided and rounded down."""
    values: NDArray[np.float64]
    """`STALE_NAN`, bit for bit, where a point has no recorded value."""


async def number_columns(
    reader: Reader, series: Sequence[UUID], start_ms: int, end_ms: int, *, max_samples: int
) -> NumberColumns:
    """The samples from `start_ms` to `end_ms`, both inclusive. Of several of one series and time the first counts.

    Raises:
        TooManySamples: more than `max_samples`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    raise NotImplementedError
