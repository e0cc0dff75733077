"""The database is stopped, killed, cut off, silent, read-only or has no place: nothing acknowledged is lost, and with a
spool senders do not even notice."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools, long_faults
from tests.faults.support.pg_proxy import Proxy, proxy
from tests.faults.support.server import Server, server
from tests.faults.support.site import Site, running_site
from tests.support.eventually import eventually


@pytest.fixture
def way(database_url: str) -> Iterator[Proxy]:
    """A way to the database of the test that can be made bad."""
    with proxy(database_url) as made:
        yield made


async def is_ready(site: Site) -> bool:
    """Whether it says that it can serve; that it lives it has to say whatever the database does."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        assert (await client.get(f"{site.api}/healthz")).status_code == 200
        status = (await client.get(f"{site.api}/readyz")).status_code
        assert status in (200, 503)
        return status == 200


@both_spools
async def test_f5_postgresql_stopped_at_once_recovers_and_nothing_acknowledged_is_missing(
    case: Case, folder: Path, spool: bool
) -> None:
    with server() as database:
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(300)
                await asyncio.to_thread(database.stop, "immediate")
                await load.feels_an_outage(spool=spool)
                await asyncio.to_thread(database.start)
                await load.acknowledged(300)
            await case.ends(database.url(), site)
            await case.used_the_spool(site, spool=spool)
            await case.doctor_agrees(database.url(), site)


@pytest.mark.long_faults
@both_spools
async def test_f5_killed_processes_of_postgresql_lose_nothing(case: Case, folder: Path, spool: bool) -> None:
    """SIGKILL to one backend makes the server recover by itself; SIGKILL to the first process needs a start."""
    with server() as database:
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                for _ in range(2):
                    await load.acknowledged(200)
                    os.kill(await a_backend(database), signal.SIGKILL)
                    await database.ready()
                await load.acknowledged(200)
                await asyncio.to_thread(database.kill)
                await load.feels_an_outage(spool=spool)
                await asyncio.to_thread(database.start)
                await load.acknowledged(200)
            await case.ends(database.url(), site)


async def a_backend(database: Server) -> int:
    """Process id of a connection of Ares that stores something just now."""

    async def busy() -> int | None:
        try:
            connection = await asyncpg.connect(database.url())
        except (OSError, asyncpg.PostgresError):
            return None  # it still recovers from the one before
        try:
            found: int | None = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = 'ares' AND pid <> pg_backend_pid() "
                "AND (xact_start IS NOT NULL OR query ILIKE 'commit%') LIMIT 1"
            )
            return found
        finally:
            await connection.close()

    found = await eventually(busy, every=0.01)
    assert found is not None
    return found


async def test_f5_the_embedded_postgresql_killed_under_load_comes_back_by_itself(case: Case, data_dir: Path) -> None:
    async with running_site(data_dir, None) as site:
        async with under_load(case.oracle, site.doors) as load:
            for way in (signal.SIGQUIT, signal.SIGKILL):  # immediate shutdown; no chance to do anything
                await load.acknowledged(300)
                postmaster = await eventually(partial(embedded_postmaster, site))
                assert postmaster is not None
                os.kill(postmaster.pid, way)
                await asyncio.to_thread(postmaster.wait, 60)
            await load.acknowledged(600)
        await case.ends(site.process.database, site)


async def embedded_postmaster(site: Site) -> psutil.Process | None:
    """The first process of the embedded server, when it runs."""
    children = psutil.Process(site.process.pid).children()
    return next((child for child in children if child.name() == "postgres"), None)


async def test_a_storm_of_terminated_connections_is_invisible_to_senders(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        connection = await asyncpg.connect(database_url)
        async with under_load(case.oracle, site.doors) as load:
            for _ in range(10):
                await load.acknowledged(60)
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await load.acknowledged(100)
        await connection.close()
        await case.ends(database_url, site)


@pytest.mark.parametrize("seconds", [pytest.param(2, id="2 s"), long_faults(600, seconds=900, id="10 minutes")])
@both_spools
async def test_f8_a_database_that_is_away_for_long_costs_no_memory_and_readiness_says_so(
    case: Case, database_url: str, folder: Path, way: Proxy, spool: bool, seconds: int
) -> None:
    async with running_site(folder / "data", way.url, spool=spool) as site:
        process = psutil.Process(site.process.pid)
        async with under_load(case.oracle, site.doors, pause=0.1) as load:
            await load.acknowledged(300)
            before, files = process.memory_info().rss, process.num_fds()
            way.away()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await load.feels_an_outage(spool=spool)
                assert not await is_ready(site)
            after = process.memory_info().rss
            waits = [wait for sender in load.senders for wait in sender.heard.refused_after]
            print(f"RSS {before >> 20} MiB before, {after >> 20} MiB after; attempts {way.attempts}")
            if waits:
                print(f"median of {len(waits)} refusals: {statistics.median(waits) * 1000:.1f} ms")
            assert after - before < 256 << 20  # --admission-limit-mib
            way.back()
            await load.acknowledged(300)
            await eventually(partial(is_ready, site))
        await case.ends(database_url, site)
        await case.used_the_spool(site, spool=spool)
        assert process.num_fds() <= files * 1.1 + 10


@pytest.mark.long_faults
@both_spools
async def test_f19_a_black_hole_between_ares_and_postgresql_is_noticed_and_left(
    case: Case, database_url: str, folder: Path, way: Proxy, spool: bool
) -> None:
    async with running_site(folder / "data", way.url, spool=spool) as site:
        async with under_load(case.oracle, site.doors, attempt_seconds=30) as load:
            await load.acknowledged(200)
            way.black_hole = True
            await load.feels_an_outage(spool=spool)
            way.back()
            await load.acknowledged(200)
        await case.ends(database_url, site)
        await case.used_the_spool(site, spool=spool)


async def test_connections_that_are_reset_half_closed_slow_and_narrow_lose_and_double_nothing(
    case: Case, database_url: str, folder: Path, way: Proxy
) -> None:
    async with running_site(folder / "data", way.url) as site:
        async with under_load(case.oracle, site.doors) as load:
            await load.acknowledged(100)
            for length in (1_000, 20_000, 50_000):
                way.reset_after = length
                await load.acknowledged(60)
            way.reset_after = 0
            for _ in range(3):
                way.half_close()
                await load.acknowledged(100)
                way.cut()
                await load.acknowledged(100)
            way.delay = 0.02
            await load.acknowledged(100)
            way.delay, way.bytes_a_second = 0.0, 100_000
            await load.acknowledged(100)
            way.back()
        await case.ends(database_url, site)


@pytest.mark.long_faults
@both_spools
async def test_f14_a_server_without_a_free_connection_makes_senders_wait_and_no_more(
    case: Case, folder: Path, spool: bool
) -> None:
    settings = ["max_connections=30", "superuser_reserved_connections=0", "reserved_connections=0"]
    with server(settings) as database, proxy(database.url()) as way:
        async with running_site(folder / "data", way.url, spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                taken: list[asyncpg.Connection] = []
                way.refusing = True
                way.cut()  # Ares has lost its places …
                try:
                    while True:  # … and somebody else takes all there are
                        taken.append(await asyncpg.connect(database.url()))
                except asyncpg.TooManyConnectionsError:
                    way.refusing = False
                await load.feels_an_outage(spool=spool)
                for connection in taken:
                    await connection.close()
                await load.acknowledged(200)
            await case.ends(database.url(), site)


@pytest.mark.long_faults
async def test_f14_reads_that_hang_leave_ingest_alone(case: Case, database_url: str, folder: Path) -> None:
    async with running_site(folder / "data", database_url) as site:
        blocker = await asyncpg.connect(database_url)
        await blocker.execute("BEGIN; LOCK TABLE service_registry IN ACCESS EXCLUSIVE MODE")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            path = f"{site.api}/api/v1/observability/health"
            reads = [asyncio.create_task(client.get(path)) for _ in range(30)]
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(1000)
            assert not any(read.done() for read in reads)
            assert load.refusals == 0, load.answers
            await blocker.execute("ROLLBACK")
            await asyncio.gather(*reads)
        await blocker.close()
        await case.ends(database_url, site)


@both_spools
async def test_f15_a_database_that_becomes_read_only_and_writable_again_loses_nothing(
    case: Case, folder: Path, spool: bool
) -> None:
    with server() as database:
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                await database.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
                await load.feels_an_outage(spool=spool)
                await database.execute(
                    "SET default_transaction_read_only = off",
                    "ALTER SYSTEM SET default_transaction_read_only = off",
                    "SELECT pg_reload_conf()",
                )
                await load.acknowledged(200)
            await case.ends(database.url(), site)
            await case.used_the_spool(site, spool=spool)


@both_spools
async def test_a_stop_while_the_database_says_nothing_comes_to_its_end_and_loses_nothing(
    case: Case, database_url: str, folder: Path, way: Proxy, spool: bool
) -> None:
    async with running_site(folder / "data", way.url, "--shutdown-grace", "6", spool=spool) as site:
        async with under_load(case.oracle, site.doors, attempt_seconds=30) as load:
            await load.acknowledged(100)
            way.black_hole = True
            await site.stop()
            way.back()
            await site.start()
            await load.acknowledged(100)
        await case.ends(database_url, site)
