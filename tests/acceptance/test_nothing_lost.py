"""What is acknowledged is in the table, once: under load, across restarts of PostgreSQL, across a stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.support.ares_process import AresProcess, running_ares
from tests.support.eventually import eventually
from tests.support.senders import Told, different_requests, send_all, send_until

SENDERS = 4


def target(ares: AresProcess) -> str:
    return ares.otlp_grpc.removeprefix("http://")


async def counter(ares: AresProcess, name: str) -> float:
    """The sum of an own counter over its labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{ares.http}/metrics")).raise_for_status().text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, flags=re.MULTILINE))


async def postmaster(ares: AresProcess) -> int:
    """Process of the embedded server; 0 when it does not run."""
    return next((p.pid for p in psutil.Process(ares.pid).children() if p.name() == "postgres"), 0)


async def missing(connection: asyncpg.Connection, told: Told, service: str) -> set[bytes]:
    rows = await connection.fetch("SELECT span_id FROM service_spans WHERE service_name = $1", service)
    return told.acknowledged - {row["span_id"] for row in rows}


async def test_100_000_spans_by_four_senders_are_in_the_table_once_and_the_counters_agree(
    ares: AresProcess, database: asyncpg.Connection
) -> None:
    bodies = different_requests(200, 500, "hundred-thousand")
    before = {name: await counter(ares, name) for name in ("otelcol_receiver_accepted_spans_total",)}
    assert await counter(ares, "ares_otel_encoder_info") == 1
    await asyncio.gather(*(send_all(target(ares), bodies) for _ in range(SENDERS)))
    row = await database.fetchrow(
        "SELECT count(*) AS rows, count(DISTINCT (trace_id, span_id)) AS spans FROM service_spans "
        "WHERE service_name = 'hundred-thousand'"
    )
    assert (row["rows"], row["spans"]) == (100_000, 100_000)
    accepted = await counter(ares, "otelcol_receiver_accepted_spans_total")
    assert accepted - before["otelcol_receiver_accepted_spans_total"] == 100_000
    assert await counter(ares, "otelcol_exporter_sent_spans_total") == accepted
    assert await counter(ares, "otelcol_receiver_refused_spans_total") == 0
    assert await counter(ares, "ares_otel_admission_used_bytes") == 0


@pytest.mark.parametrize("spool_mib", [1024, 0], ids=["with a spool", "without a spool"])
async def test_postgres_that_is_killed_under_load_comes_back_and_nothing_acknowledged_is_missing(
    data_dir: Path, spool_mib: int
) -> None:
    with running_ares(data_dir, "--spool-limit-mib", str(spool_mib)) as ares:
        told, enough = Told(), asyncio.Event()
        senders = [asyncio.create_task(send_until(target(ares), told, enough, service="load")) for _ in range(SENDERS)]

        async def acknowledged(more: int) -> None:
            goal = len(told.acknowledged) + more

            async def reached() -> bool:
                for sender in senders:
                    if sender.done():
                        sender.result()
                return len(told.acknowledged) >= goal

            await eventually(reached, seconds=60)

        await acknowledged(1000)
        for way in (signal.SIGQUIT, signal.SIGKILL):  # immediate shutdown; no chance to do anything
            os.kill(await eventually(lambda: postmaster(ares)), way)
            await acknowledged(2000)
        enough.set()
        await asyncio.gather(*senders)
        if spool_mib:

            async def replayed() -> bool:
                return not await counter(ares, "ares_otel_spool_waiting_items")

            await eventually(replayed, seconds=60)
            assert await counter(ares, "ares_otel_spool_items_total") > 0
        else:
            assert told.refusals > 0
        connection = await asyncpg.connect(ares.database)
        assert await missing(connection, told, "load") == set()
        assert not await connection.fetchval(
            "SELECT count(*) - count(DISTINCT (trace_id, span_id)) FROM service_spans WHERE service_name = 'load'"
        )
        await connection.close()
        assert "Traceback" not in ares.stderr


async def test_a_stop_under_load_stores_everything_that_was_acknowledged(database_url: str, tmp_path: Path) -> None:
    with running_ares(tmp_path, "--database-url", database_url) as ares:
        told, enough = Told(), asyncio.Event()
        senders = [asyncio.create_task(send_until(target(ares), told, enough, service="stop")) for _ in range(SENDERS)]

        async def some() -> bool:
            return len(told.acknowledged) >= 1000

        await eventually(some)
        await asyncio.to_thread(ares.stop)
        enough.set()
        await asyncio.gather(*senders)
        assert "Traceback" not in ares.stderr
    connection = await asyncpg.connect(database_url)
    assert await missing(connection, told, "stop") == set()
    await connection.close()


async def test_killed_ares_has_stored_everything_that_it_acknowledged(database_url: str, tmp_path: Path) -> None:
    with running_ares(tmp_path, "--database-url", database_url) as ares:
        told, enough = Told(), asyncio.Event()
        senders = [asyncio.create_task(send_until(target(ares), told, enough, service="kill")) for _ in range(SENDERS)]

        async def some() -> bool:
            return len(told.acknowledged) >= 1000

        await eventually(some)
        ares.kill()
        enough.set()
        await asyncio.gather(*senders)
    connection = await asyncpg.connect(database_url)
    assert await missing(connection, told, "kill") == set()
    await connection.close()
