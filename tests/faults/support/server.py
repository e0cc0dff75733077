"""A real PostgreSQL server of a test's own, with everything that makes it durable, which the test stops, kills and
fills. It listens on loopback and on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import asyncpg
import psutil

from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.postgres import BINARIES

T = TypeVar("T")

DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
_SMALL = ("shared_buffers=32MB", "max_connections=60", "jit=off", "max_worker_processes=4", "wal_keep_size=0")


class Server:
    """The server of one directory. Not running until `start`."""

    def __init__(self, folder: Path, settings: Sequence[str] = (), *, env: Mapping[str, str] | None = None) -> None:
        """`settings`: `NAME=VALUE` each, on top of durable ones. `env`: more variables for the server's processes."""
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.settings = [*DURABLE, *_SMALL, *settings]
        self.env = dict(env or {})
        own(folder)

    def make(self) -> None:
        """Makes the files (initdb)."""
        self.run("initdb", "-D", self.data, "-U", "ares", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def copy_of(self, port: int) -> None:
        """Makes the files of a standby that follows the server at this port of loopback (pg_basebackup)."""
        where = f"host=127.0.0.1 port={port} user=ares application_name=standby"
        self.run("pg_basebackup", "-D", self.data, "-d", where, "-R", "-X", "stream", "-c", "fast")

    def start(self) -> None:
        """Starts the server and returns when it takes connections; recovers after a crash."""
        options = [f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1", f"port={self.port}"]
        line = " ".join(f"-c {option}" for option in [*options, *self.settings])
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.folder / "log", "-o", line, "start")

    def stop(self, mode: Literal["fast", "immediate", "smart"] = "fast") -> None:
        """`pg_ctl stop`. `immediate` is a crash: the next start recovers from the write-ahead log."""
        self.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    @property
    def postmaster(self) -> psutil.Process | None:
        """The server's first process, None when it does not run."""
        try:
            return psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        except (OSError, IndexError, psutil.NoSuchProcess):
            return None

    def ends(self, seconds: float = 60.0) -> None:
        """Waits until the server has ended by itself."""
        postmaster = self.postmaster
        if postmaster is not None:
            postmaster.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the first process; returns when the others have noticed. Safe when nothing runs."""
        postmaster = self.postmaster
        if postmaster is not None:
            processes = [postmaster, *postmaster.children()]
            postmaster.send_signal(signal.SIGKILL)
            psutil.wait_procs(processes, timeout=30)

    def run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        """Runs one of PostgreSQL's programs as the server's user; what it says goes into `said` in the folder."""
        with (self.folder / "said").open("ab") as said:
            done = subprocess.run(
                [*as_its_user(), str(BINARIES / program), *map(str, arguments)],
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        if check and done.returncode != 0:
            raise AssertionError(f"{program} failed: {self.log()}")

    def log(self) -> str:
        """The end of what the server and its programs said."""
        path = self.folder / ("log" if (self.folder / "log").exists() else "said")
        return path.read_text(errors="replace")[-3000:]

    def url(self, database: str = "ares", host: str = "127.0.0.1", port: int | None = None) -> str:
        """URL of a database over TCP; `port` is a proxy's when given."""
        return f"postgresql://ares@{host}:{port or self.port}/{database}"

    async def execute(self, *statements: str, database: str = "ares") -> None:
        """Runs statements, each on its own."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def has_standby(self) -> None:
        """Waits until a standby follows synchronously."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            states = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            await eventually(partial(connection.fetchval, states), every=0.05)
        finally:
            await connection.close()

    async def waits_for_its_standby(self, requests: int = 0) -> None:
        """Waits until a commit, or the commits of so many requests, wait to be confirmed by a standby."""
        commits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        locks = (  # a request holds one
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND wait_event = 'SyncRep'"
        )

        async def look() -> bool:
            try:
                connection = await asyncpg.connect(self.url("postgres"))
            except (OSError, asyncpg.PostgresError):
                return False
            try:
                return bool(await connection.fetchval(locks if requests else commits) >= max(1, requests))
            finally:
                await connection.close()

        await eventually(look, seconds=60, every=0.05)

    async def ready(self) -> None:
        """Waits until the server takes connections."""

        async def look() -> bool:
            try:
                await self.execute("SELECT 1", database="postgres")
            except (OSError, asyncpg.PostgresError):
                return False
            return True

        await eventually(look, seconds=60, every=0.05)


@contextmanager
def server(
    settings: Sequence[str] = (), *, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Server]:
    """A running server with an empty database `ares`; it is gone afterwards, and its files too where no `folder` for
    them was given."""
    with contextlib.ExitStack() as stack:
        made = Server(folder or stack.enter_context(open_folder("ares-fault-pg-")), settings, env=env)
        made.make()
        made.start()
        try:
            run_apart(made.execute("CREATE DATABASE ares", database="postgres"))
            yield made
        except BaseException as error:
            error.add_note(f"PostgreSQL said:\n{made.log()}")
            raise
        finally:
            made.kill()


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end, also where an event loop runs already: on a thread with a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_BECOME = "import os, sys; os.setgroups([]); os.setgid({1}); os.setuid({0}); os.execv(sys.argv[1], sys.argv[1:])"


def as_its_user() -> list[str]:
    """What stands before a command of PostgreSQL, which does not run as root.

    Not Popen's `user`: that forks where it otherwise would not, and a fork while gRPC is at work crashes the child.
    """
    who = _other_user()
    return [] if who is None else [sys.executable, "-I", "-S", "-c", _BECOME.format(*who)]


def own(path: Path) -> None:
    """Gives a file or folder to the user that PostgreSQL runs as."""
    who = _other_user()
    if who is not None:
        os.chown(path, *who)


def _other_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
