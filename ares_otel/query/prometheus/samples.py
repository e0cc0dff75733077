"""The samples of series that were found, some of them at a time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from ares_otel.query.prometheus.columns import (
    NumberColumns,
    TooManySamples,
    distribution_rows,
    newest_columns,
    number_columns,
    statement_ranges,
)
from ares_otel.query.prometheus.cumulative import cumulative_columns
from ares_otel.query.prometheus.cumulative_rows import cumulative_rows, series_of_deltas
from ares_otel.query.prometheus.distributions import labels_of, pieces_of, samples_of
from ares_otel.query.prometheus.index import Entry
from ares_otel.query.prometheus.pieces import Piece
from ares_otel.query.prometheus.target_info import target_info
from ares_otel.query.prometheus.translation import DELTA, INFO, VALUE
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements
from ares_otel.storage.rows.encoded import DISTRIBUTIONS

SERIES_AT_ONCE = 200
"""Histograms and summaries that are read together."""
POINTS_AT_ONCE = 20_000
"""Points of them that are held at once: each may have hundreds of buckets."""
DELTAS_AT_ONCE = 2_000_000
"""Deltas that are read where only the newest counters are asked for."""
_SQL = load_statements("prometheus_select.sql")
_Ids = Sequence[UUID]


class Samples:
    """Reads the samples of one time range."""

    def __init__(self, reader: Reader, start_ms: int, end_ms: int, *, newest_only: bool) -> None:
        self._reader = reader
        self._start, self._end = start_ms, end_ms
        self._newest_only = newest_only

    async def of(self, page: Sequence[Entry], *, most: int) -> list[Piece]:
        """The samples of each entry; none of those that have none in the range.

        Args:
            most: samples that there may be.

        Raises:
            TooManySamples: there are more.
            DatabaseUnavailable, QueryTooSlow: see `reader`.
        """
        numbers = [entry for entry in page if entry.part == VALUE]
        infos = [entry for entry in page if entry.part == INFO]
        deltas = [entry for entry in page if entry.part == DELTA]
        others = [entry for entry in page if entry.part not in (VALUE, DELTA, INFO)]
        made = await self._numbers(numbers, most) if numbers else []
        if deltas:
            made += await self._deltas(deltas, most - _size(made))
        if others:
            made += await self._distributions(others, most - _size(made))
        if infos:
            made += await target_info(
                self._reader,
                infos,
                self._start,
                self._end,
                most=most - _size(made),
                newest_only=self._newest_only,
            )
        return made

    async def _numbers(self, found: Sequence[Entry], most: int) -> list[Piece]:
        ids = [entry.series_id for entry in found]
        if self._newest_only:
            columns = await newest_columns(self._reader, ids, self._start, self._end)
        else:
            columns = await number_columns(self._reader, ids, self._start, self._end, max_samples=most)
        return await asyncio.to_thread(_pieces, found, columns)

    async def _deltas(self, found: Sequence[Entry], most: int) -> list[Piece]:
        """Counters that came as deltas, added up."""
        ids = [entry.series_id for entry in found]
        start, end = self._start, self._end
        if self._newest_only:  # from the oldest of the newest ones on all are read
            newest = await newest_columns(self._reader, ids, start, end)
            if not len(newest.timestamps):
                return []
            start, most = int(newest.timestamps.min()), DELTAS_AT_ONCE
        columns = await cumulative_columns(self._reader, ids, start, end, max_samples=most)
        made = await asyncio.to_thread(_pieces, found, columns)
        return [piece.last() for piece in made] if self._newest_only else made

    async def _distributions(self, found: Sequence[Entry], most: int) -> list[Piece]:
        by_series: dict[UUID, list[Entry]] = defaultdict(list)
        for entry in found:
            by_series[entry.series_id].append(entry)
        ids = list(by_series)
        made: list[Piece] = []
        for begin in range(0, len(ids), SERIES_AT_ONCE):
            wanted = ids[begin : begin + SERIES_AT_ONCE]
            deltas = await series_of_deltas(self._reader, wanted)
            if deltas:
                async for rows in self._delta_rows([id_ for id_ in wanted if id_ in deltas]):
                    most -= await asyncio.to_thread(_add, made, by_series, rows, most)
                wanted = [id_ for id_ in wanted if id_ not in deltas]
            if wanted:
                async for rows in self._rows(wanted, self._start, self._end):
                    most -= await asyncio.to_thread(_add, made, by_series, rows, most)
        return made

    async def _delta_rows(self, ids: _Ids) -> AsyncIterator[list[Any]]:
        """The points of histograms that came as deltas, added up: what was counted before is what came since less than
        the total, so points up to now are read."""
        until = max(self._end, time.time_ns() // 1_000_000)
        try:
            async with self._reader.snapshot():  # points and totals of one moment
                rows = await distribution_rows(self._reader, ids, self._start, until, max_points=POINTS_AT_ONCE)
                made = await cumulative_rows(self._reader, ids, rows, self._end)
        except TooManySamples:
            if len(ids) == 1:
                raise
            for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
                async for some in self._delta_rows(part):
                    yield some
            return
        if self._newest_only:
            made = list({row["series_id"]: row for row in made}.values())  # by time: the last one of each stays
        yield made

    async def _rows(self, ids: _Ids, start: int, end: int) -> AsyncIterator[list[Any]]:
        """The points of series, by series and time, so many at once as may be held."""
        if self._newest_only:
            yield await self._newest_rows(ids)
            return
        try:
            yield await distribution_rows(self._reader, ids, start, end, max_points=POINTS_AT_ONCE)
        except TooManySamples:
            half, middle = len(ids) // 2, (start + end) // 2
            if not half and start >= end:
                raise
            parts = [(ids[:half], start, end), (ids[half:], start, end)] if half else []
            for part in parts or [(ids, start, middle), (ids, middle + 1, end)]:
                async for rows in self._rows(*part):
                    yield rows

    async def _newest_rows(self, ids: _Ids) -> list[Any]:
        found: dict[UUID, Any] = {}
        for lower, upper in await statement_ranges(
            self._reader, DISTRIBUTIONS, self._start, self._end
        ):  # the newest first
            missing = [id_ for id_ in ids if id_ not in found]
            if not missing:
                break
            statement = _SQL["newest_distributions"]
            for row in await self._reader.fetch(statement, series=missing, lower=lower, upper=upper):
                found[row["series_id"]] = row
        return list(found.values())


def _pieces(found: Sequence[Entry], columns: NumberColumns) -> list[Piece]:
    made = []
    for number, entry in enumerate(found):
        where = slice(columns.offsets[number], columns.offsets[number + 1])
        if where.start < where.stop:
            age = (entry.first_seen, entry.series_id)
            times, values = columns.timestamps[where], columns.values[where]
            made.append(Piece(labels_of(entry), entry.kind, age, times, values))
    return made


def _add(made: list[Piece], by_series: dict[UUID, list[Entry]], rows: Sequence[Any], most: int) -> int:
    """Adds the samples of points; how many they are. Raises TooManySamples."""
    size = 0
    for id_, group in groupby(rows, key=lambda row: row["series_id"]):
        some = list(group)
        size += samples_of(by_series[id_], some)
        if size > most:
            raise TooManySamples
        pieces = pieces_of(by_series[id_], some)
        size += sum(piece.weight - len(piece.timestamps) for piece in pieces)
        if size > most:
            raise TooManySamples
        made += pieces
    return size


def _size(pieces: Sequence[Piece]) -> int:
    return sum(piece.weight for piece in pieces)
