"""Midnight, and days without the job that makes partitions: no insert fails and nothing is lost. The clock is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from ares_otel.model.batch import Batch
from ares_otel.model.errors import Retryable
from ares_otel.storage.partitions import AHEAD
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, log_record, logs_request, metrics_request, span, trace_request
from tests.support.partitions import SetClock, day

pytestmark = pytest.mark.every_server

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(day(-1) - SECOND)


@pytest.fixture
async def store(database_url: str, clock: SetClock) -> AsyncIterator[Store]:
    """A store that was started a second before midnight; its job does not run again by itself in a test's time."""
    store = Store(database_url, clock=clock)
    await store.start()
    yield store
    await store.stop()


def batches(clock: SetClock) -> list[Batch]:
    """One of every signal, made and received now."""
    at = clock.time_ns()
    spans = trace_request(spans=[span(start_time_unix_nano=at, end_time_unix_nano=at)])
    logs = logs_request(records=[log_record(time_unix_nano=at, observed_time_unix_nano=at)])
    return [batch_of(request, received_ns=at) for request in (spans, logs, metrics_request())]


async def days(sql: asyncpg.Connection) -> list[int]:
    """For each stored span: days from today to where it is filed."""
    rows = await sql.fetch(
        "SELECT (start_time AT TIME ZONE 'UTC')::date - (now() AT TIME ZONE 'UTC')::date AS day "
        "FROM service_spans ORDER BY start_time"
    )
    return [row["day"] for row in rows]


async def test_rows_before_and_after_midnight_find_their_partitions(
    store: Store, sql: asyncpg.Connection, clock: SetClock
) -> None:
    for _ in range(3):  # a second before, at, and a second after
        for batch in batches(clock):
            await store.consume(batch)
        clock.at += SECOND
    assert await days(sql) == [0, 1, 1]


async def test_a_job_that_does_not_run_for_three_days_loses_nothing(
    store: Store, sql: asyncpg.Connection, clock: SetClock
) -> None:
    for _ in range(AHEAD + 1):
        for batch in batches(clock):
            await store.consume(batch)
        clock.at += timedelta(days=1)
    assert await days(sql) == list(range(AHEAD + 1))


async def test_a_process_that_was_frozen_for_weeks_stores_again_as_soon_as_it_is_asked(
    store: Store, sql: asyncpg.Connection, clock: SetClock
) -> None:
    clock.at += timedelta(days=25)
    async with asyncio.timeout(60):
        for batch in batches(clock):
            while True:
                try:
                    await store.consume(batch)
                    break
                except Retryable:  # nothing was stored; the sender has it and tries again
                    await asyncio.sleep(0.01)
    assert await days(sql) == [25]
