"""Histograms that came as deltas, as the cumulative ones they stand for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, groupby
from operator import sub
from typing import Any
from uuid import UUID

from ares_otel.model.prometheus.points import NO_RECORDED_VALUE
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.totals.distributions import COLUMNS, Explicit, Exponential

_SQL = load_statements("totals.sql")
_Row = Mapping[str, Any]
_Waiting = frozenset[tuple[datetime, int]]


async def series_of_deltas(reader: Reader, series: Sequence[UUID]) -> set[UUID]:
    """Those that came as deltas. Raises DatabaseUnavailable, QueryTooSlow: see `reader`."""
    return {row["series_id"] for row in await reader.fetch(_SQL["deltas"], ids=list(series))}


async def cumulative_rows(
    reader: Reader, series: Sequence[UUID], rows: Sequence[_Row], end_ms: int
) -> list[dict[str, Any]]:
    """The rows up to `end_ms` (milliseconds since 1970, inclusive) with everything that was counted until then in place
    of each delta. What was counted before the first row is the total, less what came since; a point of before that is
    not in the total yet counts a few seconds later.

    Args:
        series: histograms and exponential histograms of deltas, each once.
        rows: of metric_distributions, all from some time to now, with `n`, the place of the series, from 0 on; by
            series and time, and each time once.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    totals = {row["n"]: row for row in await reader.fetch(_SQL["distributions"], ids=list(series))}
    return await asyncio.to_thread(_cumulative, rows, totals, end_ms)


def _cumulative(rows: Sequence[_Row], totals: Mapping[int, _Row], end_ms: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for n, group in groupby(rows, key=lambda row: row["n"]):
        points = list(group)
        total = totals[n]
        waiting = frozenset(zip(total["waiting"] or (), total["waiting_ns"] or (), strict=True))
        made += _of_series(points, total, waiting, end_ms)
    return made


def _of_series(points: Sequence[_Row], total: _Row, waiting: _Waiting, end_ms: int) -> list[dict[str, Any]]:
    """The points of one series, by time.

    Args:
        waiting: times of points that are not in the total yet.
    """
    running: Explicit | Exponential = Exponential() if points[0]["scale"] is not None else Explicit()
    everything = type(running)()
    known: list[_Row] = [] if total["count"] is None else [total]
    known += [point for point in points if (point["timestamp"], point["timestamp_ns"]) in waiting and _counts(point)]
    for row in known:
        everything.add(row)
    counted = [point for point in points if _counts(point)]
    if known:
        running.add(_less(everything, counted))
    sums = _sums(everything, counted, running.count)
    made = []
    for point in points:
        if point["timestamp"].timestamp() * 1000 >= end_ms + 1:
            break
        if _counts(point):
            running.add(point)
            if (exact := next(sums, None)) is not None:
                running.sum = exact
        since = {"start_time": total["since"] or points[0]["timestamp"], "start_ns": 0, "point_raw": None}
        made.append({**point, **dict(zip(COLUMNS, running.columns(), strict=True)), **since})
    return made


def _sums(everything: Explicit | Exponential, points: Sequence[_Row], before: int) -> Iterator[float]:
    """What the sum is at each point, back from everything: so the newest one is the same bits whatever range is read.
    Nothing where not all points have a sum, or they are not what makes the difference from `before`, the count before
    them, to everything."""
    deltas = [point["sum"] for point in points]
    together = before + sum(point["count"] or 0 for point in points)
    if everything.sum is None or everything.count != together or any(delta is None for delta in deltas):
        return iter(())
    back = accumulate(reversed(deltas[1:]), sub, initial=everything.sum)
    return reversed(list(back))


def _counts(point: _Row) -> bool:
    return not (point["flags"] or 0) & NO_RECORDED_VALUE


def _less(everything: Explicit | Exponential, points: Sequence[_Row]) -> dict[str, Any]:
    """Everything, less the points: what was counted before them, at the bounds or the scale of everything."""
    since = type(everything)()
    since.add(
        {**dict(zip(COLUMNS, everything.columns(), strict=True)), **_NOTHING, "bucket_counts": _zeros(everything)}
    )
    for point in points:
        since.add(point)
    left: dict[str, Any] = dict(zip(COLUMNS, everything.columns(), strict=True))
    left["count"] = max(everything.count - since.count, 0)
    left["sum"] = None if everything.sum is None or since.sum is None else everything.sum - since.sum
    if isinstance(everything, Exponential) and isinstance(since, Exponential):
        if since.scale != everything.scale:
            # Points that the total does not know yet are wider than it: they begin what is told.
            return _empty(left)
        left["zero_count"] = max(everything.zero_count - since.zero_count, 0)
        for side in ("positive", "negative"):
            counts, taken = getattr(everything, side), getattr(since, side)
            offset = min(counts, default=0)
            left[f"{side}_offset"] = offset
            left[f"{side}_counts"] = [
                max(counts.get(index, 0) - taken.get(index, 0), 0)
                for index in range(offset, max(counts, default=-1) + 1)
            ]
    elif isinstance(everything, Explicit) and isinstance(since, Explicit):
        if since.bounds != everything.bounds:
            return _empty(left)
        pairs = zip(everything.counts, since.counts, strict=True)
        left["bucket_counts"] = [max(one - other, 0) for one, other in pairs]
    return left


_NOTHING = {"count": 0, "sum": 0.0, "zero_count": 0, "positive_counts": None, "negative_counts": None}


def _zeros(total: Explicit | Exponential) -> list[int] | None:
    return [0] * len(total.counts) if isinstance(total, Explicit) else None


def _empty(left: dict[str, Any]) -> dict[str, Any]:
    buckets = left["bucket_counts"]
    return {**left, **_NOTHING, "bucket_counts": None if buckets is None else [0] * len(buckets)}
