"""What Prometheus tells of metrics beside their samples is in a table, once, for as long as somebody tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ares_otel.model.prometheus.metadata import MetricMetadata
from ares_otel.storage import prometheus_metadata
from ares_otel.storage.prometheus_metadata import MetadataKeeper, prune_metadata
from tests.support.clock import FakeClock
from tests.support.eventually import eventually

A = MetricMetadata("a_total", "counter", "", "How many.")
B = MetricMetadata("b", "gauge", "seconds", "How long.")


class Database:
    """A keeper's way to the database, which can be closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.closed = False
        self.connections = 0

    async def connect(self) -> asyncpg.Connection:
        self.connections += 1
        if self.closed:
            raise ConnectionRefusedError("it is away")
        return await asyncpg.connect(self.url)

    async def rows(self) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.url)
        try:
            return [
                dict(row) for row in await connection.fetch("SELECT * FROM prometheus_metadata ORDER BY metric_name")
            ]
        finally:
            await connection.close()


async def told(database: Database) -> list[tuple[str, str, str, str]]:
    return [(row["metric_name"], row["type"], row["unit"], row["help"]) for row in await database.rows()]


async def test_metadata_is_kept_once_and_touched_when_it_is_told_again_later(database_url: str) -> None:
    database, clock = Database(database_url), FakeClock()
    keeper = MetadataKeeper(database.connect, clock)
    keeper.note(0, [A, B, A])
    keeper.note(0, [A])

    async def kept() -> bool:
        return len(await database.rows()) == 2

    await eventually(kept)
    assert await told(database) == [tuple(A), tuple(B)]
    keeper.note(0, [A, B])
    await keeper.stop()
    connections = database.connections
    keeper = MetadataKeeper(database.connect, clock)
    before = (await database.rows())[0]["last_seen"]
    keeper.note(0, [A])
    await keeper.stop()
    assert (await database.rows())[0]["last_seen"] > before
    assert database.connections == connections + 1


async def test_two_descriptions_of_a_metric_stand_beside_each_other(database_url: str) -> None:
    database = Database(database_url)
    keeper = MetadataKeeper(database.connect)
    keeper.note(0, [A, A._replace(help="Another."), A._replace(help="x" * 5000), A._replace(help="x" * 6000)])
    keeper.note(0, [A._replace(metric_name="n" * 600), A._replace(metric_name="nul", help="a\0b")])
    await keeper.stop()
    assert sorted((name, help_) for name, _, _, help_ in await told(database)) == [
        ("a_total", "Another."),
        ("a_total", "How many."),
        ("a_total", "x" * 4096),
        ("nul", "a\ufffdb"),
    ]


async def test_metadata_waits_for_a_database_that_is_away(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_metadata, "RETRY_SECONDS", 0.01)
    database = Database(database_url)
    database.closed = True
    keeper = MetadataKeeper(database.connect)
    keeper.note(0, [A])

    async def tried() -> bool:
        return database.connections >= 2

    await eventually(tried)
    database.closed = False

    async def kept() -> bool:
        return await told(database) == [tuple(A)]

    await eventually(kept)
    await keeper.stop()
    await keeper.stop()


async def test_the_table_is_bounded_and_what_is_there_is_still_touched(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_metadata, "MAX_ROWS", 2)
    database = Database(database_url)
    for told_now in ([A, B], [A, A._replace(metric_name="c")]):
        keeper = MetadataKeeper(database.connect)
        keeper.note(0, told_now)
        await keeper.stop()
    rows = await database.rows()
    assert [row["metric_name"] for row in rows] == ["a_total", "b"]
    assert rows[0]["last_seen"] > rows[1]["last_seen"]


async def test_what_nobody_tells_any_more_is_deleted_with_the_samples_of_its_time(database_url: str) -> None:
    database = Database(database_url)
    keeper = MetadataKeeper(database.connect)
    keeper.note(0, [A, B])
    await keeper.stop()
    connection = await asyncpg.connect(database_url)
    now = datetime.now(UTC)
    await connection.execute(
        "UPDATE prometheus_metadata SET last_seen = $1 WHERE metric_name = 'b'", now - timedelta(9)
    )
    assert await prune_metadata(connection, now - timedelta(10)) == 0
    assert await prune_metadata(connection, now - timedelta(7)) == 1
    await connection.close()
    assert await told(database) == [tuple(A)]
