"""Samples of many series as columns: arrays, and no Python object for each of them.

Samples are rows in open partitions and packs in sealed ones (`storage/partitions/packing.py`), and here one. Rows are
read first: what is packed in between is then seen twice, and counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.query.instant import to_micros
from ares_otel.query.prometheus.gathered import Gathered, TooManySamples, part_of_pack, part_of_rows, since_2000
from ares_otel.query.ranges import PARTITIONS_AT_ONCE, Range, by_partitions
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, SAMPLES

__all__ = ["NumberColumns", "TooManySamples", "distribution_rows", "newest_columns", "number_columns"]

SERIES_AT_ONCE = 5000
SAMPLES_AT_ONCE = 1_000_000
"""Rows that one statement looks at, at most: it bounds what the server holds for it, and how much is read in vain when
there is more."""
NEWEST_AT_ONCE = 1000
"""Series of which the newest sample is looked for by one statement."""
PACKS_AT_ONCE = 4000
"""The same for packs."""
_SHORTEST_PARTITION = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SQL = load_statements("columns.sql")
_STARTS = load_statements("ranges.sql")["starts"]


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

    Args:
        series: each once.

    Raises:
        TooManySamples: more than `max_samples`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    ranges = list(reversed(await statement_ranges(reader, SAMPLES, start_ms, end_ms)))
    found = Gathered(len(series), max_samples)
    await _gather(reader, series, range(len(series)), ranges, found, ordered=False)
    if doubled := await asyncio.to_thread(found.doubled):
        # Seldom: only which came first decides, and that takes more columns.
        again = Gathered(len(series), max_samples)
        await _gather(reader, series, doubled, ranges, again, ordered=True)
        await asyncio.to_thread(found.replace, doubled, again)
    return NumberColumns(series, *await asyncio.to_thread(found.columns))


async def newest_columns(reader: Reader, series: Sequence[UUID], start_ms: int, end_ms: int) -> NumberColumns:
    """Of each series the newest sample from `start_ms` to `end_ms`, both inclusive; found by index.

    Args:
        series: each once.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    found = Gathered(len(series), 2 * len(series))
    missing = list(range(len(series)))
    for range_ in await statement_ranges(reader, SAMPLES, start_ms, end_ms):  # the newest first
        lower, upper = _bounds(range_)
        for begin in range(0, len(missing), NEWEST_AT_ONCE):
            places = {series[n]: n for n in missing[begin : begin + NEWEST_AT_ONCE]}
            wanted = {"series": list(places), "lower": range_.lower, "upper": range_.upper}
            for row in await reader.fetch(_SQL["newest_numbers"], **wanted):
                found.newest(places[row["series_id"]], part_of_rows(row["samples"], ordered=True))
            for pack in await reader.fetch(_SQL["newest_packs"], **wanted):
                found.newest(places[pack["series_id"]], part_of_pack(pack, lower, upper, ordered=True))
        missing = [n for n in missing if not found.parts[n]]
    return NumberColumns(series, *found.columns())


async def distribution_rows(
    reader: Reader, series: Sequence[UUID], start_ms: int, end_ms: int, *, max_points: int
) -> list[Any]:
    """Rows of `metric_distributions` by series, in the order of `series`, and time: asyncpg records for
    `restore_metrics.point_of`, with `series_id` and with `n`, the place of the series in `series`, from 0 on.
    Of several of one series and time the first counts.

    Args:
        start_ms, end_ms: milliseconds since 1970, both inclusive.

    Raises:
        TooManySamples: more than `max_points`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    rows: list[Any] = []
    ranges = list(reversed(await statement_ranges(reader, DISTRIBUTIONS, start_ms, end_ms)))
    for begin in range(0, len(series), SERIES_AT_ONCE):
        wanted = series[begin : begin + SERIES_AT_ONCE]
        part: list[Any] = []
        for lower, upper in ranges:
            limit = max_points - len(rows) - len(part) + 1
            part += await reader.fetch(
                _SQL["distributions"], series=wanted, first=begin, lower=lower, upper=upper, limit=limit
            )
            if len(rows) + len(part) > max_points:
                raise TooManySamples
        if len(ranges) > 1:
            part.sort(key=itemgetter("n"))  # within a series the order stays
        rows += part
    return rows


async def _gather(
    reader: Reader,
    series: Sequence[UUID],
    numbers: Sequence[int],
    ranges: Sequence[Range],
    found: Gathered,
    *,
    ordered: bool,
) -> None:
    """Reads the samples of those series that have the numbers. Raises TooManySamples."""
    for read in (_read_rows, _read_packs):
        for range_ in ranges:
            for begin in range(0, len(numbers), SERIES_AT_ONCE):
                part = numbers[begin : begin + SERIES_AT_ONCE]
                # In halves where one statement would read too much.
                waiting = [(part, range_)]
                while waiting:
                    wanted, within = waiting.pop()
                    if not await read(reader, series, wanted, within, found, ordered=ordered):
                        waiting += reversed(list(_halves(wanted, within)))


async def _read_rows(
    reader: Reader, series: Sequence[UUID], numbers: Sequence[int], range_: Range, found: Gathered, *, ordered: bool
) -> bool:
    """False, and nothing was added, when there is too much for one statement. Raises TooManySamples."""
    most = min(SAMPLES_AT_ONCE, found.left) + 1
    rows = await reader.fetch(
        _SQL["numbers"],
        series=[series[n] for n in numbers],
        lower=range_.lower,
        upper=range_.upper,
        limit=most,
        ordered=ordered or None,
    )
    if sum(row["count"] for row in rows) == most:
        if most > found.left:
            raise TooManySamples
        return False

    def add() -> None:
        places = {series[n]: n for n in numbers}
        for row in rows:
            found.add(places[row["series_id"]], part_of_rows(row["samples"], ordered=ordered))

    await asyncio.to_thread(add)
    return True


async def _read_packs(
    reader: Reader, series: Sequence[UUID], numbers: Sequence[int], range_: Range, found: Gathered, *, ordered: bool
) -> bool:
    """The same for packs. Only the first and the last of a series can have samples of other times, too."""
    packs = await reader.fetch(
        _SQL["packs"],
        series=[series[n] for n in numbers],
        lower=range_.lower,
        upper=range_.upper,
        limit=PACKS_AT_ONCE,
        ordered=ordered or None,
    )
    if len(packs) == PACKS_AT_ONCE:
        return False
    lower, upper = _bounds(range_)

    def add() -> None:
        places = {series[n]: n for n in numbers}
        packs.sort(key=itemgetter("first"))
        for pack in packs:
            found.add(places[pack["series_id"]], part_of_pack(pack, lower, upper, ordered=ordered))

    await asyncio.to_thread(add)
    return True


def _bounds(range_: Range) -> tuple[int, int]:
    """Microseconds since 2000."""
    assert range_.lower is not None
    assert range_.upper is not None
    return since_2000(to_micros(range_.lower)), since_2000(to_micros(range_.upper))


def _length(range_: Range) -> timedelta:
    assert range_.lower is not None
    assert range_.upper is not None
    return range_.upper - range_.lower


def _halves(numbers: Sequence[int], range_: Range) -> Iterator[tuple[Sequence[int], Range]]:
    """Of the series, or of the time of a single one. Raises TooManySamples for a time that is as short as they get."""
    half = len(numbers) // 2
    if half:
        yield numbers[:half], range_
        yield numbers[half:], range_
        return
    length = _length(range_) // 2
    if not length:
        raise TooManySamples
    assert range_.lower is not None
    yield numbers, Range(range_.lower, range_.lower + length)
    yield numbers, Range(range_.lower + length, range_.upper)


async def statement_ranges(reader: Reader, table: str, start_ms: int, end_ms: int) -> list[Range]:
    """What a statement each looks at, the newest first: it is planned over the partitions of its range."""
    whole = Range(_time(start_ms), _time(end_ms + 1))
    assert whole.lower is not None
    assert whole.upper is not None
    if whole.upper <= whole.lower:
        return []
    if whole.upper - whole.lower < PARTITIONS_AT_ONCE * _SHORTEST_PARTITION:
        return [whole]
    rows = await reader.fetch(_STARTS, table=table)
    starts = sorted(row["start"].astimezone(UTC) for row in rows if row["start"] is not None)
    return list(by_partitions(starts, whole))


def _time(ms: int) -> datetime:
    """Milliseconds since 1970 as a time; the nearest that there is for one outside of the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if ms < 0 else datetime.max.replace(tzinfo=UTC)
