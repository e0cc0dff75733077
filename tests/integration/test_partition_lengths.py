"""Partitions become shorter when more arrives, while rows are stored, and nothing is lost. The clock is set."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from ares_otel.storage.partitions import Partition, ensure_partitions, list_partitions, read_windows, to_ns
from ares_otel.storage.partitions import lengths as ladder
from ares_otel.storage.partitions.lengths import DAY, LENGTHS, ahead_of
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, span, trace_request
from tests.support.partitions import SetClock, day
from tests.support.stored_rows import insert_span

pytestmark = pytest.mark.every_server

SHORTEST = LENGTHS[-1]
EVENING = timedelta(hours=22)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(day(0) + EVENING)


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition is full with one row, so that a few are as many as ten thousand a second."""
    monkeypatch.setattr(ladder, "MAX_ROWS", 1)


async def burst(url: str, at: datetime, rows: int = 300) -> None:
    """Rows of that time, from a session that has told the server's statistics of them."""
    session = await asyncpg.connect(url)
    await session.execute("DELETE FROM partition_volumes")  # measured by the real clock, which may be after the test's
    async with session.transaction():
        for number in range(rows):
            await insert_span(session, number, start_time=at)
    await session.execute("SELECT pg_stat_force_next_flush()")
    await session.close()


async def spans_of(sql: asyncpg.Connection) -> list[Partition]:
    return [p for p in await list_partitions(sql) if p.table == "service_spans"]


def of_length(partitions: list[Partition], length: timedelta) -> list[Partition]:
    return [p for p in partitions if p.end - p.start == length]


async def check_window(sql: asyncpg.Connection, clock: SetClock, length: timedelta) -> None:
    """From two days ago without a hole to as far ahead as is promised."""
    window = (await read_windows(sql, clock))["service_spans"]
    assert window.start_ns <= to_ns(day(2))
    assert window.end_ns >= to_ns(clock.at + ahead_of(length))


async def test_the_days_ahead_give_way_to_short_partitions_and_the_open_one_stays(
    database_url: str, sql: asyncpg.Connection, clock: SetClock
) -> None:
    await burst(database_url, clock.at)
    await ensure_partitions(sql, clock)
    found = await spans_of(sql)
    assert [p.start for p in of_length(found, DAY)] == [day(2), day(1), day(0)]
    short = of_length(found, SHORTEST)
    assert short[0].start == day(-1)
    assert len(found) == 3 + len(short)
    assert short[0].name == f"service_spans_{day(-1):%Y%m%d}_0000_10m"
    await check_window(sql, clock, SHORTEST)
    assert of_length([p for p in await list_partitions(sql) if p.table == "service_logs"], DAY), "the others stay"
    assert await ensure_partitions(sql, clock) == []


async def test_rows_of_clocks_that_run_ahead_move_into_the_shorter_partitions(
    database_url: str, sql: asyncpg.Connection, clock: SetClock
) -> None:
    ahead = day(-2) + timedelta(hours=3, minutes=7)
    await insert_span(sql, 7, start_time=ahead, attributes={"order.id": 815})
    await burst(database_url, clock.at)
    await ensure_partitions(sql, clock)
    found = await sql.fetchrow(
        "SELECT tableoid::regclass::text AS place, start_time, attributes::text FROM service_spans "
        "WHERE start_time > $1",
        day(-1),
    )
    assert found is not None
    assert found["place"] == f"service_spans_{day(-2):%Y%m%d}_0300_10m"
    assert found["start_time"] == ahead
    assert "815" in found["attributes"]


async def test_a_partition_that_is_in_use_is_exchanged_by_a_later_run(
    database_url: str, sql: asyncpg.Connection, clock: SetClock
) -> None:
    await burst(database_url, clock.at)
    writer = await asyncpg.connect(database_url)
    writing = writer.transaction()
    await writing.start()
    await insert_span(writer, 1, start_time=clock.at)
    await ensure_partitions(sql, clock)
    assert len(of_length(await spans_of(sql), DAY)) == 6
    await writing.rollback()
    await writer.close()
    await ensure_partitions(sql, clock)
    assert len(of_length(await spans_of(sql), DAY)) == 3


async def test_processes_that_look_at_the_same_time_make_each_partition_once(
    database_url: str, sql: asyncpg.Connection, clock: SetClock
) -> None:
    await burst(database_url, clock.at)
    sessions = [await asyncpg.connect(database_url) for _ in range(3)]
    made = await asyncio.gather(*(ensure_partitions(session, clock) for session in sessions))
    names = [name for names in made for name in names]
    assert len(names) == len(set(names))
    for session in sessions:
        await session.close()
    await ensure_partitions(sql, clock)  # what one of them had locked while another looked
    assert len(of_length(await spans_of(sql), DAY)) == 3
    await check_window(sql, clock, SHORTEST)


async def test_partitions_become_longer_when_little_has_arrived_for_long(
    database_url: str, sql: asyncpg.Connection, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await burst(database_url, clock.at)
    await ensure_partitions(sql, clock)
    monkeypatch.setattr(ladder, "MAX_ROWS", 1000)
    for _ in range(4):
        clock.at += timedelta(hours=1)
        await ensure_partitions(sql, clock)
        await check_window(sql, clock, SHORTEST)
    clock.at += timedelta(days=2)
    await ensure_partitions(sql, clock)
    found = await spans_of(sql)
    assert found[-1].end - found[-1].start == DAY
    assert all(a.end <= b.start for a, b in pairwise(found))


async def test_rows_are_stored_over_changes_of_length_and_after_a_sleep(
    database_url: str, sql: asyncpg.Connection, clock: SetClock
) -> None:
    await burst(database_url, clock.at)
    await sql.execute("DELETE FROM service_spans")
    store = Store(database_url, clock=clock)
    await store.start()
    times = []
    for pause in (timedelta(minutes=7), timedelta(hours=3), timedelta(hours=9), timedelta(minutes=10)):
        at = clock.time_ns()
        times.append(clock.at)
        made = span(start_time_unix_nano=at, end_time_unix_nano=at)
        answer = await store.consume(batch_of(trace_request(spans=[made]), received_ns=at))
        assert answer.stored == 1
        clock.at += pause
    await store.stop()
    rows = await sql.fetch(
        "SELECT start_time, tableoid::regclass::text AS place FROM service_spans ORDER BY start_time"
    )
    assert [row["start_time"] for row in rows] == times
    assert [row["place"].endswith("_10m") for row in rows] == [False, False, True, True]
