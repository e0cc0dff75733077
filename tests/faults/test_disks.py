"""Disks that are full, slow or broken, under the database and under the spool."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from ares_otel.model.batch import batch_key
from ares_otel.model.signal import LOGS, TRACES
from tests.faults.support.answers import GrpcDoor
from tests.faults.support.case import Case
from tests.faults.support.items import Maker
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools, long_faults
from tests.faults.support.oracle import State
from tests.faults.support.pg_proxy import proxy
from tests.faults.support.server import Server, open_folder, server
from tests.faults.support.shim import Shim, shim
from tests.faults.support.site import Site, quiet, running_site
from tests.faults.support.small_disk import fill, make_room, small_disk
from tests.faults.support.wal import Answered, WalWitness


@contextmanager
def server_on_a_bad_disk(below: str, *settings: str) -> Iterator[tuple[Server, Shim]]:
    """A durable server, and faults of the disk below a folder of its data directory."""
    with (
        open_folder("ares-fault-pg-") as folder,
        shim(folder / "data" / below) as disk,
        server(settings, env=disk.env, folder=folder) as database,
    ):
        yield database, disk


@both_spools
async def test_f9_a_full_disk_under_the_tables_refuses_or_spools_and_reads_go_on_and_ingest_resumes(
    case: Case, folder: Path, spool: bool
) -> None:
    """Extending a table fails with ENOSPC, which PostgreSQL reports as 53100."""
    with server_on_a_bad_disk("base") as (database, disk):
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(300)
                disk.set(write_errno=errno.ENOSPC)
                await load.feels_an_outage(spool=spool)
                assert await reads_answer(site)
                disk.set()
                await load.acknowledged(300)
            await case.ends(database.url(), site)


@pytest.mark.long_faults
@pytest.mark.as_root
@both_spools
async def test_f9_a_real_full_file_system_under_the_tables_refuses_or_spools_and_ingest_resumes(
    case: Case, folder: Path, spool: bool
) -> None:
    with server() as database, a_small_disk(folder / "disk", 48) as disk:
        await database.execute(f"CREATE TABLESPACE small LOCATION '{disk}'", database="postgres")
        await database.execute("ALTER DATABASE ares SET default_tablespace = small", database="postgres")
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors, size=2000) as load:
                await load.acknowledged(300)
                fill(disk, leave=100_000)
                await load.acknowledged(100) if spool else await load.refused(6)
                assert await reads_answer(site)
                make_room(disk)
                await load.acknowledged(300)
            await case.ends(database.url(), site)


@contextmanager
def a_small_disk(path: Path, mib: int) -> Iterator[Path]:
    """A small file system; skips where this machine lets nobody mount one."""
    try:
        with small_disk(path, mib) as disk:
            yield disk
    except PermissionError as error:
        pytest.skip(f"No file system can be mounted here ({error}); the case before it fakes one.")


async def reads_answer(site: Site) -> bool:
    """Whether REST answers questions about what is stored."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return (await client.get(f"{site.api}/api/v1/observability/logs?limit=1")).status_code == 200


@pytest.mark.long_faults
@both_spools
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
async def test_f10_a_log_volume_that_fails_makes_postgresql_panic_and_nothing_acknowledged_is_missing(
    case: Case, folder: Path, spool: bool, error: int
) -> None:
    with server_on_a_bad_disk("pg_wal", "restart_after_crash=off") as (database, disk), proxy(database.url()) as way:
        async with running_site(folder / "data", way.url, spool=spool) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(300)
                disk.set(write_errno=error)
                await asyncio.to_thread(database.ends)
                before = way.attempts
                await load.feels_an_outage(spool=spool)
                print(f"{way.attempts - before} connection attempts while {load.refusals} requests were refused")
                disk.set()
                await asyncio.to_thread(database.start)
                await load.acknowledged(300)
            await case.ends(database.url(), site)


@pytest.mark.long_faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("delay", [500, 5000], ids=["500 ms", "5 s"])
async def test_f11_slow_fsync_makes_answers_slow_and_senders_that_lose_patience_double_nothing(
    case: Case, folder: Path, delay: int
) -> None:
    with server_on_a_bad_disk("pg_wal") as (database, disk):
        async with running_site(folder / "data", database.url()) as site:
            async with under_load(case.oracle, site.doors, attempt_seconds=delay / 2500) as load:
                await load.acknowledged(200)
                disk.set(fsync_delay_ms=delay)
                await load.refused(10)  # their patience is shorter than a commit
                await load.acknowledged(60)
                disk.set()
                await load.acknowledged(200)
            await case.ends(database.url(), site)


@pytest.mark.parametrize("setting", ["on", "off"], ids=["synchronous commit on", "synchronous commit off"])
async def test_every_answer_comes_after_its_commit_was_on_the_disk_and_a_server_that_cheats_is_found_out(
    case: Case, folder: Path, setting: str
) -> None:
    """`kill -9` does not test fsync; the position up to which the write-ahead log was flushed does."""
    # Without a walwriter that flushes by itself, so that cheating shows.
    settings = [f"synchronous_commit={setting}", "wal_writer_delay=10s", "wal_writer_flush_after=1GB"]
    with server(settings) as database:
        async with running_site(folder / "data", database.url(), "--config", str(quiet(folder))) as site:
            connection = await asyncpg.connect(database.url())
            witness = await WalWitness.watches(connection)
            maker, answered = Maker(case.oracle.run, "witness"), []
            door = GrpcDoor(site.doors.grpc[0])
            for number in range(50):
                request = maker.request((TRACES, LOGS)[number % 2], 10)
                told = case.oracle.sends(request)
                answer = await asyncio.to_thread(door.send, request, 30)
                flushed = await witness.flushed()
                assert answer.state is State.ACKNOWLEDGED
                case.oracle.hears(told, answer.state, answer.rejected)
                answered.append(Answered(batch_key(0, request.signal, request.body), flushed))
            door.close()
            early = await witness.too_early(answered)
            await connection.close()
            await case.ends(database.url(), site)
    if setting == "on":
        assert early == []
    else:
        assert len(early) > 25, "a server that answers before it flushes has to be found out"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"write_errno": errno.ENOSPC}, id="full"),
        long_faults({"open_errno": errno.EROFS, "write_errno": errno.EROFS}, seconds=180, id="read-only"),
        long_faults({"fsync_errno": errno.EIO}, seconds=180, id="fsync fails"),
    ],
)
async def test_a_spool_that_cannot_be_written_refuses_and_goes_on_when_it_can(
    case: Case, database_url: str, folder: Path, fault: dict[str, int]
) -> None:
    with proxy(database_url) as way, shim(folder / "data" / "spool") as disk:
        async with running_site(folder / "data", way.url, env=disk.env) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                way.away()
                await load.acknowledged(200)  # from the spool
                disk.set(**fault)
                await load.refused(20)
                disk.set()
                await load.acknowledged(200)
                way.back()
                await load.acknowledged(200)
            await case.ends(database_url, site)


async def test_a_spool_that_cannot_begin_a_new_segment_refuses_until_it_can(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way, shim(folder / "data" / "spool") as disk:
        async with running_site(folder / "data", way.url, env=disk.env) as site:
            way.away()
            async with under_load(case.oracle, site.doors, signals=(TRACES,), items=10, size=80_000) as load:
                await load.acknowledged(30)
                disk.set(open_errno=errno.ENOSPC)
                await load.refused(6)  # the first segment is full
                disk.set()
                await load.acknowledged(30)
            way.back()
            await case.ends(database_url, site)


@pytest.mark.long_faults
async def test_a_slow_disk_under_the_spool_makes_answers_slow_and_a_kill_meanwhile_loses_nothing(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way, shim(folder / "data" / "spool") as disk:
        async with running_site(folder / "data", way.url, env=disk.env) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                way.away()
                await load.acknowledged(100)
                disk.set(fsync_delay_ms=500)
                await load.acknowledged(100)
                site.kill()
                disk.set()
                way.back()
                await site.start()
                await load.acknowledged(100)
            await case.ends(database_url, site)


@pytest.mark.long_faults
@pytest.mark.as_root
async def test_a_spool_on_a_full_file_system_refuses_and_what_it_took_is_replayed_once(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way, a_small_disk(folder / "disk", 8) as disk:
        arguments = ("--spool-dir", str(disk / "spool"))
        async with running_site(folder / "data", way.url, *arguments) as site:
            async with under_load(case.oracle, site.doors, size=4000) as load:
                await load.acknowledged(200)
                way.away()
                await load.refused(20)  # 8 MiB are soon full
                way.back()
                await load.acknowledged(200)
            await case.ends(database_url, site)
            await case.used_the_spool(site, spool=True)


async def test_a_spool_at_its_limit_refuses_and_what_it_took_is_replayed_once(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url, "--spool-limit-mib", "2") as site:
            async with under_load(case.oracle, site.doors, size=4000) as load:
                await load.acknowledged(200)
                way.away()
                await load.refused(20)
                way.back()
                await load.acknowledged(200)
            await case.ends(database_url, site)
            await case.used_the_spool(site, spool=True)
