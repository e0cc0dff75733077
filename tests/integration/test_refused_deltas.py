"""A delta that cannot be added to its total is set aside, and stops neither other deltas nor the rest of the job."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, Sum

from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rollups.observer import SilentRollupObserver
from ares_otel.storage.store import Store
from ares_otel.storage.totals import adding
from ares_otel.storage.totals.pruning import prune_totals
from tests.support.ingested import ago, send
from tests.support.otlp_samples import DELTA, metrics_request, number_point, pairs
from tests.support.rollups import run_once

VALUES = [*range(1, 20), 5000, *range(20, 40), 6000]
GOOD = sorted(float(value) for value in VALUES if value < 1000)


class Told(SilentRollupObserver):
    """What the job told."""

    def __init__(self) -> None:
        self.refusals = 0
        self.failures: list[str] = []

    def refused(self, rows: int) -> None:
        self.refusals += rows

    def failed(self, step: str) -> None:
        self.failures.append(step)


@pytest.fixture
async def store(emptied_database_url: str) -> AsyncIterator[Store]:
    made = Store(emptied_database_url)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sql(emptied_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def refusing(sql: asyncpg.Connection) -> AsyncIterator[None]:
    """A database that takes no large totals."""
    await sql.execute("ALTER TABLE metric_totals ADD CONSTRAINT refuses CHECK (value < 1000)")
    yield
    await sql.execute("ALTER TABLE metric_totals DROP CONSTRAINT IF EXISTS refuses")


async def stored(store: Store) -> None:
    """A delta of each value, of a series of its own."""
    points = [number_point(value, attributes=pairs({"n": str(value)}), **ago(5)) for value in VALUES]
    counter = Sum(data_points=points, aggregation_temporality=DELTA, is_monotonic=True)
    await send(store, metrics_request(metrics=[Metric(name="orders", sum=counter)]))


async def totals(sql: asyncpg.Connection) -> Any:
    return await sql.fetchval("SELECT array_agg(value ORDER BY value) FROM metric_totals")


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("batch", [1, 7, 20_000])
async def test_deltas_that_the_database_refuses_are_set_aside_and_the_others_are_added_up(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    await stored(store)
    told = Told()
    with caplog.at_level(logging.WARNING, logger="ares_otel.storage.rollups"):
        await run_once(partial(asyncpg.connect, emptied_database_url), batch=batch, observer=told)
    assert await totals(sql) == GOOD
    assert await sql.fetchval("SELECT count(*) FROM metric_delta_arrivals") == 0
    rows = await sql.fetch("SELECT value, sqlstate, reason FROM metric_delta_refused ORDER BY value")
    assert [(row["value"], row["sqlstate"]) for row in rows] == [(5000, "23514"), (6000, "23514")]
    assert "refuses" in rows[0]["reason"]
    assert (told.refusals, told.failures) == (2, [])
    assert len(caplog.records) == 1, "one warning for all of them"
    assert "metric_delta_refused" in caplog.text


@pytest.mark.usefixtures("refusing")
async def test_deltas_that_were_set_aside_count_when_they_are_moved_back(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    await stored(store)
    await run_once(partial(asyncpg.connect, emptied_database_url))
    await sql.execute("ALTER TABLE metric_totals DROP CONSTRAINT refuses")
    await sql.execute(
        "WITH back AS (DELETE FROM metric_delta_refused RETURNING *) INSERT INTO metric_delta_arrivals "
        'SELECT tenant_id, series_id, "timestamp", timestamp_ns, value FROM back'
    )
    await run_once(partial(asyncpg.connect, emptied_database_url))
    assert await totals(sql) == [*GOOD, 5000, 6000]


async def test_a_delta_that_ares_itself_cannot_add_is_set_aside(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = adding._added

    def broken(known: Any, numbers: Any, rows: Any) -> Any:
        if max(numbers.values()) > 1000:
            raise ValueError("a mistake\0")
        return added(known, numbers, rows)

    monkeypatch.setattr(adding, "_added", broken)
    await stored(store)
    told = Told()
    await run_once(partial(asyncpg.connect, emptied_database_url), observer=told)
    assert await totals(sql) == GOOD
    assert (told.refusals, told.failures) == (2, [])
    row = await sql.fetchrow("SELECT sqlstate, reason FROM metric_delta_refused LIMIT 1")
    assert row is not None
    assert (row["sqlstate"], row["reason"]) == (None, "ValueError: a mistake�")


async def test_a_server_that_cannot_serve_sets_nothing_aside(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise asyncpg.DiskFullError("no space left")

    await stored(store)
    told = Told()
    with monkeypatch.context() as patched:
        patched.setattr(adding, "_write", full)
        await run_once(partial(asyncpg.connect, emptied_database_url), observer=told)
    assert (told.refusals, told.failures) == (0, ["totals"])
    await run_once(partial(asyncpg.connect, emptied_database_url))
    assert await totals(sql) == sorted(VALUES)


@pytest.mark.usefixtures("refusing")
async def test_what_was_set_aside_leaves_with_the_points_of_its_time_or_its_series(
    store: Store, sql: asyncpg.Connection, emptied_database_url: str
) -> None:
    await stored(store)
    await run_once(partial(asyncpg.connect, emptied_database_url))
    kept = RetentionSettings(days=30)
    assert (await prune_totals(sql, kept, datetime.now(UTC)))["metric_delta_refused"] == 0
    await sql.execute("UPDATE metric_delta_refused SET refused_at = refused_at - interval '40 days' WHERE value = 5000")
    assert (await prune_totals(sql, kept, datetime.now(UTC) + timedelta(days=1)))["metric_delta_refused"] == 1
    await sql.execute("DELETE FROM metric_series")
    assert (await prune_totals(sql, kept, datetime.now(UTC)))["metric_delta_refused"] == 1
