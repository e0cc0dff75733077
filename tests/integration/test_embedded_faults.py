"""The embedded server survives kill -9, of itself and of Ares, and is never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.embedded_cluster import UNFINISHED
from ares_otel.storage.embedded_processes import gone
from ares_otel.storage.embedded_user import server_user
from tests.support.embedded_host import embedded_host, open_folder, start_host

PATIENCE = 60.0  # seconds; nothing here takes that long unless it hangs


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    await connection.close()


async def count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


async def appears(path: Path, maker: subprocess.Popen[str] | None = None) -> None:
    """Waits until the file is there, or its maker is not."""
    async with asyncio.timeout(PATIENCE):
        while not os.access(path, os.F_OK) and (maker is None or maker.poll() is None):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def dead(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_a_killed_ares_takes_its_server_along_even_with_other_children_alive(tmp_path: Path) -> None:
    with embedded_host(tmp_path / "data") as host:
        await fill(host.url)
        client = await asyncpg.connect(host.url)
        host.process.kill()
        assert await gone([host.postmaster, host.watchdog], PATIENCE)
        assert host.bystander.is_running()
        client.terminate()
    server = EmbeddedPostgres(tmp_path / "data")
    try:
        assert await count(await server.start()) == 1000
    finally:
        await server.stop()


async def test_a_server_that_outlived_its_ares_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    said: list[str] = []
    with embedded_host(tmp_path / "data") as host:
        await fill(host.url)
        host.watchdog.kill()
        host.process.kill()
        host.process.wait()
        assert host.postmaster.is_running()
        server = EmbeddedPostgres(tmp_path / "data", progress=said.append)
        try:
            url = await server.start()
            assert dead(host.postmaster)
            assert server.pid != host.postmaster.pid
            assert await count(url) == 1000
        finally:
            await server.stop()
    assert any(f"process {host.postmaster.pid}" in line for line in said)


async def test_the_watchdog_of_a_killed_ares_is_gone_before_the_next_server_runs(tmp_path: Path) -> None:
    """It looks once a second, and would take the new server for the one that it has to stop."""
    with embedded_host(tmp_path / "data") as host:
        host.watchdog.suspend()  # it is late
        host.process.kill()
        host.process.wait()
        server = EmbeddedPostgres(tmp_path / "data")
        try:
            await server.start()
            assert dead(host.watchdog)
        finally:
            await server.stop()


async def test_everything_killed_at_once_recovers_at_the_next_start(tmp_path: Path) -> None:
    with embedded_host(tmp_path / "data") as host:
        await fill(host.url)
        host.watchdog.kill()
        host.postmaster.kill()
        host.process.kill()
        host.process.wait()
        server = EmbeddedPostgres(tmp_path / "data")
        try:
            assert await count(await server.start()) == 1000
        finally:
            await server.stop()


async def test_a_killed_server_is_started_again_and_nothing_committed_is_missing(tmp_path: Path) -> None:
    said: list[str] = []
    again = asyncio.Event()

    def progress(text: str) -> None:
        said.append(text)
        if "runs again" in text:
            again.set()

    server = EmbeddedPostgres(tmp_path / "data", progress=progress)
    url = await server.start()
    try:
        for times in (1, 2):
            await fill(url)
            first = server.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                await again.wait()
            again.clear()
            assert server.pid != first
            assert await count(url) == 1000 * times
        assert any("killed by SIGKILL" in line for line in said)
    finally:
        await server.stop()


async def test_ctrl_c_in_a_terminal_reaches_ares_first_and_ends_it_cleanly(tmp_path: Path) -> None:
    with embedded_host(tmp_path / "data") as host:
        sessions = {os.getsid(one.pid) for one in (host.postmaster, host.watchdog)}
        assert os.getsid(host.process.pid) not in sessions
        os.killpg(host.process.pid, signal.SIGINT)  # what a terminal sends
        assert host.process.wait(PATIENCE) == 0
        assert dead(host.postmaster)
        assert dead(host.watchdog)
        assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()


async def test_files_half_made_by_a_killed_first_start_are_made_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "data" / "postgres" / UNFINISHED
    process = start_host(tmp_path / "data")
    try:
        await appears(unfinished / "PG_VERSION", process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert not (tmp_path / "data" / "postgres" / "data").exists()
    server = EmbeddedPostgres(tmp_path / "data")
    try:
        await fill(await server.start())
        assert not unfinished.exists()
    finally:
        await server.stop()


async def test_a_note_of_a_dead_server_whose_number_is_now_another_programs_harms_neither(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    await server.start()
    await server.stop()
    user = server_user(tmp_path / "data" / "postgres")
    other = await asyncio.create_subprocess_exec("sleep", "600", **user.popen_options())
    try:
        pgdata = tmp_path / "data" / "postgres" / "data"
        note = f"{other.pid}\n{pgdata}\n1700000000\n5432\n/tmp\n\n  1 1\nready   \n"
        (pgdata / "postmaster.pid").write_text(note)
        await fill(await server.start())
        assert other.returncode is None
    finally:
        await server.stop()
        other.kill()
        await other.wait()


async def test_a_start_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    making = asyncio.create_task(server.start())
    unfinished = tmp_path / "data" / "postgres" / UNFINISHED
    await appears(unfinished)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    left = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or ())]
    assert left == []
    await fill(await server.start())
    await server.stop()
