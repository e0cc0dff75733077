"""Samples as columns: what is stored, whatever the order in which it came."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest

from ares_otel.model.prometheus.native_histogram import STALE_NAN_BITS
from ares_otel.query.prometheus import columns
from ares_otel.query.prometheus.columns import (
    NumberColumns,
    TooManySamples,
    distribution_rows,
    newest_columns,
    number_columns,
)
from ares_otel.query.reader import Reader, reading
from ares_otel.storage.rows.restore_metrics import point_of
from tests.support.partitions import day

NOON = day(0) + timedelta(hours=12)
NOON_MS = int(NOON.timestamp() * 1000)
_INSERT = """
INSERT INTO metric_samples (series_id, "timestamp", timestamp_ns, value, flags) VALUES ($1, $2, $3, $4, $5)
"""


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=2) as made:
        yield made


@pytest.fixture
async def reader(pool: asyncpg.Pool) -> AsyncIterator[Reader]:
    async with reading(pool) as made:
        yield made


async def put(pool: asyncpg.Pool, series: UUID, *samples: tuple[float, float | None]) -> None:
    """Samples of one series: milliseconds after noon, and the value."""
    rows = [
        (series, NOON + timedelta(milliseconds=ms), 999, value, 1 if value is None else None) for ms, value in samples
    ]
    await pool.executemany(_INSERT, rows)


def of(found: NumberColumns, number: int) -> list[tuple[int, float]]:
    """The samples of a series: milliseconds after noon, and the value."""
    part = slice(found.offsets[number], found.offsets[number + 1])
    return list(zip((found.timestamps[part] - NOON_MS).tolist(), found.values[part].tolist(), strict=True))


async def test_each_series_has_its_samples_by_time_and_those_without_are_empty(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    first, none, second = uuid4(), uuid4(), uuid4()
    await put(pool, first, (2000, 2.5), (1000, 1.5))
    await put(pool, second, (0, -0.0), (3000, float("inf")))
    found = await number_columns(reader, [first, none, second], NOON_MS, NOON_MS + 3000, max_samples=4)
    assert (of(found, 0), of(found, 1)) == ([(1000, 1.5), (2000, 2.5)], [])
    assert of(found, 2) == [(0, -0.0), (3000, float("inf"))]
    assert struct.pack("<d", found.values[2]) == struct.pack("<d", -0.0)


async def test_both_ends_of_the_range_are_inside_and_times_are_rounded_down_to_milliseconds(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    series = uuid4()
    await put(pool, series, (-0.001, 0), (0, 1), (999.999, 2), (1000.999, 3), (1001, 4))
    found = await number_columns(reader, [series], NOON_MS, NOON_MS + 1000, max_samples=10)
    assert of(found, 0) == [(0, 1), (999, 2), (1000, 3)]


async def test_of_a_millisecond_the_earliest_sample_counts_and_of_one_time_the_first_that_came(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    series, other = uuid4(), uuid4()
    await put(pool, series, (5, 1), (1.5, 2), (1.2, 3), (1.2, 4), (0, 5))
    await put(pool, other, (5, 7))
    found = await number_columns(reader, [other, series], NOON_MS, NOON_MS + 9, max_samples=10)
    assert (of(found, 0), of(found, 1)) == ([(5, 7)], [(0, 5), (1, 3), (5, 1)])
    newest = await newest_columns(reader, [series], NOON_MS, NOON_MS + 4)
    assert of(newest, 0) == [(1, 3)]


async def test_a_point_without_a_value_is_the_stale_marker_bit_for_bit(pool: asyncpg.Pool, reader: Reader) -> None:
    series = uuid4()
    await put(pool, series, (0, 1), (1, None), (2, float("nan")))
    found = await number_columns(reader, [series], NOON_MS, NOON_MS + 9, max_samples=10)
    bits = found.values.view(np.uint64).tolist()
    assert bits[1] == STALE_NAN_BITS
    assert np.isnan(found.values[2])
    assert bits[2] != STALE_NAN_BITS
    newest = await newest_columns(reader, [series], NOON_MS, NOON_MS + 1)
    assert newest.values.view(np.uint64).tolist() == [STALE_NAN_BITS]


async def test_more_samples_than_asked_for_are_refused(pool: asyncpg.Pool, reader: Reader) -> None:
    series, other = uuid4(), uuid4()
    await put(pool, series, *((n, n) for n in range(5)))
    await put(pool, other, *((n, n) for n in range(5)))
    assert len((await number_columns(reader, [series, other], NOON_MS, NOON_MS + 9, max_samples=10)).values) == 10
    with pytest.raises(TooManySamples, match="shorten its time range"):
        await number_columns(reader, [series, other], NOON_MS, NOON_MS + 9, max_samples=9)


async def test_what_is_too_much_for_one_statement_is_read_in_several(
    pool: asyncpg.Pool, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "SAMPLES_AT_ONCE", 7)
    monkeypatch.setattr(columns, "SERIES_AT_ONCE", 2)
    series = [uuid4() for _ in range(5)]
    for number, one in enumerate(series):
        await put(pool, one, *((n * 10, n * number) for n in range(20)))
    found = await number_columns(reader, series, NOON_MS, NOON_MS + 1000, max_samples=100)
    for number in range(5):
        assert of(found, number) == [(n * 10, n * number) for n in range(20)]


async def test_the_newest_sample_of_each_series_lies_in_the_range(pool: asyncpg.Pool, reader: Reader) -> None:
    first, none, second = uuid4(), uuid4(), uuid4()
    await put(pool, first, (1, 1), (3, 3), (2, 2), (11, 4))
    await put(pool, none, (-1, 1), (12, 1))
    await put(pool, second, (10, 7))
    found = await newest_columns(reader, [first, none, second], NOON_MS, NOON_MS + 10)
    assert [of(found, number) for number in range(3)] == [[(3, 3)], [], [(10, 7)]]
    weeks = 40 * 86_400_000
    found = await newest_columns(reader, [first, none, second], NOON_MS - weeks, NOON_MS + 10)
    assert [of(found, number) for number in range(3)] == [[(3, 3)], [(-1, 1)], [(10, 7)]]


async def test_times_beyond_the_calendar_are_no_trouble(pool: asyncpg.Pool, reader: Reader) -> None:
    series = uuid4()
    await put(pool, series, (0, 1))
    found = await number_columns(reader, [series], -(2**62), 2**62, max_samples=10)
    assert of(found, 0) == [(0, 1)]
    assert len((await number_columns(reader, [series], 5, 4, max_samples=10)).values) == 0


async def test_distributions_come_as_rows_by_series_and_time_the_first_of_each(
    pool: asyncpg.Pool, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "SERIES_AT_ONCE", 1)
    first, second = uuid4(), uuid4()
    rows = [(second, 0, 1), (first, 5, 2), (first, 1, 3), (first, 5, 4)]
    for series, ms, count in rows:
        await pool.execute(
            'INSERT INTO metric_distributions (series_id, "timestamp", count, explicit_bounds, bucket_counts) '
            "VALUES ($1, $2, $3, ARRAY[1.0], ARRAY[$3, 0::bigint])",
            series,
            NOON + timedelta(milliseconds=ms),
            count,
        )
    found = await distribution_rows(reader, [first, second], NOON_MS, NOON_MS + 5, max_points=3)
    assert [(row["n"], row["series_id"], row["count"]) for row in found] == [
        (0, first, 3),
        (0, first, 2),
        (1, second, 1),
    ]
    assert point_of(found[0], "histogram").bucket_counts == [3, 0]
    with pytest.raises(TooManySamples):
        await distribution_rows(reader, [first, second], NOON_MS, NOON_MS + 5, max_points=2)
