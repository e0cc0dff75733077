"""Samples of many series as columns: arrays, and no Python object for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ares_otel.model.errors import AresError
from ares_otel.query.ranges import PARTITIONS_AT_ONCE, Range, by_partitions
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, SAMPLES

SERIES_AT_ONCE = 1000
SAMPLES_AT_ONCE = 500_000
"""What one statement looks at, at most: it bounds what the server holds for it, and how much is read in vain when there
is more."""
_SHORTEST_PARTITION = timedelta(minutes=10)
_EPOCH_2000_US = 946_684_800_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE = np.dtype([("time", ">i8"), ("bits", ">u8")])
_SAMPLE_WITH_ID = np.dtype([*((name, _SAMPLE[name]) for name in ("time", "bits")), ("id", ">i8")])
_SQL = load_statements("columns.sql")
_STARTS = load_statements("ranges.sql")["starts"]


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

    Args:
        series: each once.

    Raises:
        TooManySamples: more than `max_samples`.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    found = _Found(len(series), max_samples)
    for range_ in await _ranges(reader, SAMPLES, start_ms, end_ms):
        for begin in range(0, len(series), SERIES_AT_ONCE):
            numbers = range(begin, min(begin + SERIES_AT_ONCE, len(series)))
            await _read_rows(reader, series, numbers, range_, found)
    if doubled := found.doubled():
        # Seldom: only which came first decides, and that takes another column.
        again = _Found(len(series), max_samples, with_ids=True)
        for range_ in await _ranges(reader, SAMPLES, start_ms, end_ms):
            for begin in range(0, len(doubled), SERIES_AT_ONCE):
                await _read_rows(reader, series, doubled[begin : begin + SERIES_AT_ONCE], range_, again)
        found.replace(doubled, again)
    return found.columns(series)


async def newest_columns(reader: Reader, series: Sequence[UUID], start_ms: int, end_ms: int) -> NumberColumns:
    """Of each series the newest sample from `start_ms` to `end_ms`, both inclusive; found by index.

    Args:
        series: each once.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    found = _Found(len(series), len(series))
    missing = list(range(len(series)))
    for lower, upper in await _ranges(reader, SAMPLES, start_ms, end_ms):  # the newest first
        for begin in range(0, len(missing), SERIES_AT_ONCE):
            numbers = missing[begin : begin + SERIES_AT_ONCE]
            wanted = [series[n] for n in numbers]
            for row in await reader.fetch(_SQL["newest_numbers"], series=wanted, lower=lower, upper=upper):
                found.add(numbers[row["n"] - 1], row["samples"])
        missing = [n for n in missing if not found.parts[n]]
    return found.columns(series)


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
    ranges = list(reversed(await _ranges(reader, DISTRIBUTIONS, start_ms, end_ms)))
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


@dataclass(slots=True)
class _Found:
    """Samples by the number of their series, in the order in which they were read."""

    count: int
    max_samples: int
    with_ids: bool = False
    parts: list[list[NDArray[Any]]] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        self.parts = [[] for _ in range(self.count)]

    @property
    def left(self) -> int:
        """How many samples there may still be."""
        return self.max_samples - self.size

    def add(self, number: int, samples: bytes) -> None:
        """Raises TooManySamples."""
        part = np.frombuffer(samples, _SAMPLE_WITH_ID if self.with_ids else _SAMPLE)
        self.parts[number].append(part)
        self.size += len(part)
        if self.size > self.max_samples:
            raise TooManySamples

    def doubled(self) -> list[int]:
        """Series that have two samples in one millisecond. Puts the samples of the others in order."""
        found = []
        for number, parts in enumerate(self.parts):
            if not parts:
                continue
            samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
            times = samples["time"].astype(np.int64) // 1000
            steps = np.diff(times)
            if not np.all(steps > 0):
                order = np.argsort(times, kind="stable")
                if not np.all(np.diff(times[order]) > 0):
                    found.append(number)
                samples = samples[order]
            self.parts[number] = [samples]
        return found

    def replace(self, numbers: Sequence[int], others: _Found) -> None:
        """Takes the samples of some series out of others, which have ids: of those in one millisecond the first."""
        for number in numbers:
            samples = np.concatenate([np.empty(0, _SAMPLE_WITH_ID), *others.parts[number]])
            times = samples["time"].astype(np.int64) // 1000
            order = np.lexsort((samples["id"].astype(np.int64), times))
            times = times[order]
            first = np.ones(len(times), np.bool_)
            np.not_equal(times[1:], times[:-1], out=first[1:])
            self.parts[number] = [samples[order[first]]]

    def columns(self, series: Sequence[UUID]) -> NumberColumns:
        """What is asked for. Every series has one part, or none."""
        offsets = np.zeros(self.count + 1, np.int64)
        np.cumsum([sum(map(len, parts)) for parts in self.parts], out=offsets[1:])
        timestamps, bits = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.uint64)
        for number, parts in enumerate(self.parts):
            for part in parts:
                timestamps[offsets[number] : offsets[number + 1]] = part["time"]
                bits[offsets[number] : offsets[number + 1]] = part["bits"]
            self.parts[number] = []
        timestamps += _EPOCH_2000_US
        timestamps //= 1000
        return NumberColumns(series, offsets, timestamps, bits.view(np.float64))


async def _read_rows(
    reader: Reader, series: Sequence[UUID], numbers: Sequence[int], range_: Range, found: _Found
) -> None:
    """Reads the samples of some series; in halves where one statement would read too much. Raises TooManySamples."""
    most = min(SAMPLES_AT_ONCE, found.left) + 1
    rows = await reader.fetch(
        _SQL["numbers"],
        series=[series[n] for n in numbers],
        lower=range_.lower,
        upper=range_.upper,
        limit=most,
        with_ids=found.with_ids or None,
    )
    item = (_SAMPLE_WITH_ID if found.with_ids else _SAMPLE).itemsize
    if sum(len(row["samples"]) for row in rows) < most * item:
        for row in rows:
            found.add(numbers[row["n"] - 1], row["samples"])
        return
    if most > found.left:
        raise TooManySamples
    half = len(numbers) // 2
    if half:
        await _read_rows(reader, series, numbers[:half], range_, found)
        await _read_rows(reader, series, numbers[half:], range_, found)
        return
    for part in _halves(range_):
        await _read_rows(reader, series, numbers, part, found)


def _halves(range_: Range) -> Iterator[Range]:
    """Raises TooManySamples for a range that is as short as they get."""
    assert range_.lower is not None
    assert range_.upper is not None
    length = (range_.upper - range_.lower) // 2
    if not length:
        raise TooManySamples
    yield Range(range_.lower, range_.lower + length)
    yield Range(range_.lower + length, range_.upper)


async def _ranges(reader: Reader, table: str, start_ms: int, end_ms: int) -> list[Range]:
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
