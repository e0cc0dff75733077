"""Samples of counters that came as deltas, as the counter they stand for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.query.prometheus.columns import NumberColumns, number_columns
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements

_SQL = load_statements("totals.sql")
_ROUNDING = 1e-9
"""By what part of itself a sum may be wrong because its numbers were added in another order."""


async def cumulative_columns(
    reader: Reader, series: Sequence[UUID], start_ms: int, end_ms: int, *, max_samples: int
) -> NumberColumns:
    """The counters at the times of their deltas from `start_ms` to `end_ms` (milliseconds since 1970), both inclusive.

    What was counted before is what was counted altogether, less what came since: the days after that of `start_ms` are
    stored as sums, and of that day itself the samples are read to its end.

    Args:
        series: monotonic sums of deltas, each once.

    Raises:
        TooManySamples: more than `max_samples`, those that are only read for what was counted before among them.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    day = datetime.fromtimestamp(start_ms / 1000, UTC).date()
    end_of_day = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + 86_400_000 - 1
    async with reader.snapshot():  # a delta that comes between would be told at the time of the one before it
        columns = await number_columns(reader, series, start_ms, max(end_ms, end_of_day), max_samples=max_samples)
        rows = await reader.fetch(_SQL["numbers"], ids=list(series), day=day)
    altogether = np.zeros(len(series))
    later = np.zeros(len(series))
    for row in rows:
        altogether[row["n"]], later[row["n"]] = row["value"], row["later"]
    return await asyncio.to_thread(_counters, columns, altogether - later, end_of_day, end_ms)


def _up_to(total: float, deltas: NDArray[np.float64]) -> NDArray[np.float64]:
    """The counter at each delta. It goes back from the total, each series for itself: so the newest value is the same
    bits whatever range is read, and a large counter takes no digits from a small one."""
    if not len(deltas):
        return deltas
    together = np.cumsum(deltas[::-1])[::-1]  # this one and those after it
    values = total - np.append(together[1:], 0.0)
    before = total - together[0]
    if before < -_ROUNDING * together[0]:  # some of them were never added: it begins with them
        values = values - before
    counter: NDArray[np.float64] = np.maximum(values, 0.0)
    return counter


def _counters(columns: NumberColumns, totals: NDArray[np.float64], end_of_day: int, end_ms: int) -> NumberColumns:
    """Deltas as counters.

    Args:
        totals: of each series, everything up to `end_of_day`.
    """
    deltas = np.where(np.isfinite(columns.values) & (columns.values > 0), columns.values, 0.0)
    values = np.zeros(len(deltas))
    for number, total in enumerate(totals):
        start, end = columns.offsets[number], columns.offsets[number + 1]
        middle = start + np.searchsorted(columns.timestamps[start:end], end_of_day, side="right")
        values[start:middle] = _up_to(total, deltas[start:middle])
        reached = values[middle - 1] if middle > start else total
        values[middle:end] = np.cumsum(np.append(reached, deltas[middle:end]))[1:]
    stale = np.isnan(columns.values)
    values.view(np.int64)[stale] = columns.values.view(np.int64)[stale]  # bit for bit
    kept = columns.timestamps <= end_ms
    offsets = np.concatenate(([0], np.cumsum(kept)))[columns.offsets]
    return NumberColumns(columns.series, offsets.astype(np.int64), columns.timestamps[kept], values[kept])
