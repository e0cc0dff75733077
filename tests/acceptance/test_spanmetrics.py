"""Span metrics of the real command: what they count agrees with the spans in the database, whatever happens."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.faults.support.account import unbalanced_for_good
from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.postgres import copied_database
from tests.support.senders import different_requests

RECIPE = (Path(__file__).parents[2] / "collector" / "spanmetrics.yaml").read_text()
PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"
CALLS, DURATION = "traces.span.metrics.calls", "traces.span.metrics.duration"
HEADERS = {"content-type": "application/x-protobuf", "connection": "close"}
"""A connection for each request: the kernel spreads them over the workers."""
SOON = {"SPANMETRICS_FLUSH_INTERVAL": "100ms"}


FILTERED = RECIPE.replace(
    "connectors:", "processors: {filter: {metrics: {metric: ['name == \"unwanted\"']}}}\n\nconnectors:", 1
).replace(
    "spanmetrics, servicegraph]\n      exporters",
    "spanmetrics, servicegraph]\n      processors: [filter]\n      exporters",
)
"""The connector goes on, into other pipelines."""
EXPIRING = RECIPE.replace("metrics_expiration: 1h", "metrics_expiration: 2h")
"""It is exchanged for another one, which begins anew."""


@pytest.fixture
def url(postgres_server: str) -> Iterator[str]:
    with copied_database(postgres_server) as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "ares.yaml"
    file.write_text(RECIPE)
    return file


async def send(ares: AresProcess, bodies: list[bytes], *, at_once: int = 4) -> None:
    """Sends each request, as an SDK does; each has to be accepted."""
    left = list(bodies)

    async def sender() -> None:
        async with httpx.AsyncClient(base_url=ares.otlp_http, trust_env=False, timeout=30) as client:
            while left:
                answer = await client.post("/v1/traces", content=left.pop(), headers=HEADERS)
                assert answer.status_code == 200, answer.text

    await asyncio.gather(*(sender() for _ in range(at_once)))


async def in_force(ares: AresProcess, reloads: int) -> bool:
    return ares.stderr.count("was read again and is in force") == reloads


async def counted(database: asyncpg.Connection, service: str) -> tuple[int, int]:
    """Calls and durations of a service, over all series and all their lives."""
    calls = await database.fetchval(
        """
        SELECT sum(value) FROM (
            SELECT max(p.value_int) AS value FROM metric_samples p JOIN metric_series s USING (tenant_id, series_id)
            WHERE s.metric_name = $1 AND s.service_name = $2 GROUP BY series_id, start_time, start_ns
        ) lives
        """,
        CALLS,
        service,
    )
    durations = await database.fetchval(
        """
        SELECT sum(value) FROM (
            SELECT max(p.count) AS value FROM metric_distributions p JOIN metric_series s USING (tenant_id, series_id)
            WHERE s.metric_name = $1 AND s.service_name = $2 GROUP BY series_id, start_time, start_ns
        ) lives
        """,
        DURATION,
        service,
    )
    return int(calls or 0), int(durations or 0)


async def stored(database: asyncpg.Connection, service: str) -> int:
    return int(await database.fetchval("SELECT count(*) FROM service_spans WHERE service_name = $1", service))


async def test_each_stored_span_is_counted_once_over_retries_and_reloads(
    url: str, database: asyncpg.Connection, tmp_path: Path, config: Path
) -> None:
    bodies = different_requests(60, 5, "shop")
    with running_ares(tmp_path, "--database-url", url, "--config", str(config), env=SOON) as ares:
        await send(ares, [*bodies[:20], *bodies[:20]])  # twice, at the same time too
        for turn, change in enumerate((FILTERED, EXPIRING)):
            await asyncio.to_thread(config.write_text, change)
            os.kill(ares.pid, signal.SIGHUP)
            await send(ares, bodies[20 + 20 * turn : 40 + 20 * turn])
            await eventually(partial(in_force, ares, turn + 1), every=0.05)
        await send(ares, bodies)  # all of them again

        async def agreed() -> bool:
            assert await counted(database, "shop") == (300, 300)
            return True

        await eventually(agreed, every=0.1)
        assert await stored(database, "shop") == 300
        assert not await unbalanced_for_good(ares.http)
        row = await database.fetchrow(
            "SELECT labels, unit, metric_type FROM metric_series WHERE metric_name = $1", DURATION
        )
        assert row is not None
        assert (row["unit"], row["metric_type"]) == ("s", "exponential_histogram")
        assert '"span.kind": "SPAN_KIND_SERVER"' in row["labels"]
        assert await database.fetchval("SELECT count(*) FROM metric_samples WHERE exemplars IS NOT NULL") > 0
        (query,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert {found["service_name"] for found in await database.fetch(query)} == {"shop"}


async def test_after_a_kill_series_begin_anew_and_what_was_stored_before_is_not_counted_again(
    url: str, database: asyncpg.Connection, tmp_path: Path, config: Path
) -> None:
    arguments = ("--database-url", url, "--config", str(config))
    before, after = different_requests(10, 3, "shop"), different_requests(10, 3, "shop")
    with running_ares(tmp_path, *arguments, env=SOON) as ares:
        await send(ares, before)

        async def all_counted() -> bool:
            return await counted(database, "shop") == (30, 30)

        await eventually(all_counted, every=0.1)
        ares.kill()
    with running_ares(tmp_path, *arguments, env={"SPANMETRICS_FLUSH_INTERVAL": "1h"}) as ares:
        await send(ares, [*before, *after])
        ares.stop()  # the end hands on what the interval would have handed on later
    assert await counted(database, "shop") == (60, 60)
    assert await stored(database, "shop") == 60
    lives = await database.fetch(
        "SELECT DISTINCT p.series_id, p.start_time FROM metric_samples p"
        " JOIN metric_series s USING (tenant_id, series_id) WHERE s.metric_name = $1",
        CALLS,
    )
    assert len(lives) == 2 * len({row["series_id"] for row in lives}), "the same series, with another start"


async def test_each_worker_has_series_of_its_own_and_together_they_are_all_spans(
    url: str, database: asyncpg.Connection, tmp_path: Path, config: Path
) -> None:
    flags = ("--database-url", url, "--config", str(config), "--workers", "2")
    with running_ares(tmp_path, *flags, env={"SPANMETRICS_FLUSH_INTERVAL": "1h"}) as ares:
        await send(ares, different_requests(40, 2, "shop"), at_once=8)
        ares.stop()
    assert await counted(database, "shop") == (80, 80)
    writers = await database.fetch(
        "SELECT DISTINCT labels->>'collector.instance.id' AS writer FROM metric_series WHERE metric_name = $1", CALLS
    )
    assert sorted(row["writer"].rpartition("/")[2] for row in writers) == ["1", "2"]
