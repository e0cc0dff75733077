"""The embedded PostgreSQL server: the default store of `ares-otel up`, a real server with no installation.

Layout of the data directory:

    ares-otel.lock          who owns it now
    postgresql.conf         our settings, written at every start
    postgresql.user.conf    the user's own settings, read last
    postgresql-start.log    what the server said before its log was open
    log/                    the server's log
    postgres/data           PostgreSQL's own files
    postgres/run            the socket
    binaries/               a copy of the programs, only where the server's user cannot reach the installed ones
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncpg

from ares_otel.model.errors import StartError
from ares_otel.storage.data_dir import DataDir, explain_os_error, open_fresh
from ares_otel.storage.embedded_binaries import Binaries, find_binaries
from ares_otel.storage.embedded_cluster import SUPERUSER, ensure_cluster
from ares_otel.storage.embedded_processes import kill_watchdogs, stop_leftovers
from ares_otel.storage.embedded_settings import (
    CONFIG_FILE,
    LOG_DIRECTORY,
    LOG_FILES_KEPT,
    LOG_PREFIX,
    MAX_CONNECTIONS,
    USER_CONFIG,
    USER_CONFIG_FILE,
    render_config,
)
from ares_otel.storage.embedded_socket import make_socket_directory, remove_socket_directory, socket_url
from ares_otel.storage.embedded_user import ServerUser, open_the_way, server_user
from ares_otel.storage.postmaster import Postmaster
from ares_otel.storage.watchdog import Watchdog

DATABASE = "ares"
ROLE = "ares"
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 30.0
_STEADY = 60.0  # seconds of running after which the delays start anew
_LOOK_AT_LOGS = 60.0
_CONNECT = 30.0


def _say_nothing(_: str) -> None:
    """Progress that nobody reads."""


class EmbeddedPostgres:
    """The server of one data directory, from `start` to `stop`.

    While it runs it is supervised: a server that dies is started again, with growing delays while that fails. It never
    outlives Ares: a watchdog stops it when Ares is killed, and the next start stops what a watchdog could not.
    All methods are called on one event loop.
    """

    def __init__(
        self, data_dir: Path, *, progress: Callable[[str], None] = _say_nothing, connections: int = MAX_CONNECTIONS
    ) -> None:
        """
        Args:
            progress: gets a sentence for people before each long step and at each event worth knowing.
            connections: that the server takes at least.
        """
        self._connections = max(connections, MAX_CONNECTIONS)
        self._dir = DataDir(data_dir)
        self._progress = progress
        self._postmaster: Postmaster | None = None
        self._watchdog: Watchdog | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._launch: Callable[[], Postmaster] | None = None
        self._socket: Path | None = None
        self._pgdata = self._dir.path / "postgres" / "data"

    @property
    def pid(self) -> int | None:
        """The process id of the server that runs now."""
        return self._postmaster.pid if self._postmaster is not None else None

    async def start(self) -> str:
        """Starts the server and returns a URL of the database `ares`, owned by the role `ares`.

        psql and asyncpg both take the URL. The first start makes the files; one after a crash recovers.
        Raises StartError with one clear line: the directory is in use, not writable, full, of another version, ….
        """
        self._dir.acquire()
        try:
            return await self._start()
        except OSError as error:
            await self.stop()
            raise StartError(explain_os_error(error, self._dir.path)) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, a checkpoint is written. Safe without `start`, and twice.

        The data directory is free for another process when it returns.
        """
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        if self._postmaster is not None:
            await self._postmaster.stop()
            self._postmaster = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None
        if self._socket is not None:
            remove_socket_directory(self._dir.path / "postgres", self._socket)
            self._socket = None
        self._dir.release()

    def announce(self, doors: Mapping[str, str]) -> None:
        """Notes this process's doors (name → URL), so that a second start on the directory can name them."""
        self._dir.announce(doors)

    async def _start(self) -> str:
        directory = self._dir.path
        home = directory / "postgres"
        user = server_user(home)
        home.mkdir(mode=0o700, exist_ok=True)
        log = directory / LOG_DIRECTORY
        log.mkdir(mode=0o700, exist_ok=True)
        for owned in (home, log):
            if owned.is_symlink() and user.switch:
                raise StartError(f"{owned} is a symbolic link; root gives no links away. Replace it by a directory.")
            user.take(owned)
        open_the_way(directory, user, self._progress)
        binaries = find_binaries(user, directory, self._progress)
        await stop_leftovers(self._pgdata, self._progress)
        await ensure_cluster(home, binaries, user, self._progress)
        self._write_config(log)
        socket = self._socket = make_socket_directory(home, user)
        self._prepare_launch(binaries, user, socket)
        await kill_watchdogs(self._pgdata)
        # The watchdog first: from here on a kill of Ares leaves nothing behind.
        self._watchdog = Watchdog(self._pgdata, user)
        await self._run()
        await self._ensure_database(socket)
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded-postgres")
        return socket_url(socket, user=ROLE, database=DATABASE)

    def _prepare_launch(self, binaries: Binaries, user: ServerUser, socket: Path) -> None:
        def launch() -> Postmaster:
            open_the_way(self._dir.path, user, self._progress)  # it may have been closed meanwhile
            # A lock that a killed server left may name a process that is somebody else's now.
            for leftover in socket.glob(".s.PGSQL.*"):
                leftover.unlink(missing_ok=True)
            return Postmaster(self._dir.path, self._pgdata, socket, binaries, user)

        self._launch = launch

    async def _run(self) -> None:
        assert self._launch is not None
        self._drop_old_logs()
        self._postmaster = self._launch()
        await self._postmaster.ready(self._progress)

    async def _supervise(self) -> None:
        """Starts the server again whenever it ends; ends only when it is cancelled."""
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        started = loop.time()
        while True:
            assert self._postmaster is not None
            await self._ended(self._postmaster)
            if loop.time() - started >= _STEADY:
                delay = _FIRST_DELAY
            self._progress(f"PostgreSQL ended unexpectedly ({self._postmaster.ending}); starting it again")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)
            started = loop.time()
            try:
                await stop_leftovers(self._pgdata, self._progress)
                await self._run()
            except (StartError, OSError) as error:
                self._progress(f"{error} Next attempt in {delay:g} s")
            except Exception as error:  # whatever it is: nobody else starts the server again
                self._progress(f"{type(error).__name__}: {error} Next attempt in {delay:g} s")
            else:
                self._progress("PostgreSQL runs again")

    async def _ended(self, postmaster: Postmaster) -> None:
        """Waits for the end of the server, and meanwhile keeps its log small."""
        while True:
            try:
                await asyncio.wait_for(postmaster.exited.wait(), _LOOK_AT_LOGS)
            except TimeoutError:
                self._drop_old_logs()
            else:
                return

    def _drop_old_logs(self) -> None:
        logs = sorted((self._dir.path / LOG_DIRECTORY).glob(f"{LOG_PREFIX}*.log"))
        for path in logs[:-LOG_FILES_KEPT]:
            path.unlink(missing_ok=True)

    def _write_config(self, log: Path) -> None:
        directory = self._dir.path
        _replace(directory / CONFIG_FILE, render_config(str(log), self._connections))
        if not (directory / USER_CONFIG_FILE).exists():
            _replace(directory / USER_CONFIG_FILE, USER_CONFIG)

    async def _ensure_database(self, socket: Path) -> None:
        """Makes role and database where they are missing: also after a first start that was killed in between."""
        try:
            connection = await asyncpg.connect(
                socket_url(socket, user=SUPERUSER, database="postgres"), timeout=_CONNECT
            )
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
                    await connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                    await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise StartError(
                f"The database {DATABASE} could not be made in the embedded PostgreSQL: {error}."
            ) from error


def _replace(path: Path, text: str) -> None:
    """Writes a small file at once: never half of it. Readable for the server's user."""
    fresh = path.with_name(path.name + ".new")
    with open_fresh(fresh) as file:
        file.write(text.encode())
        os.fchmod(file.fileno(), 0o644)
    fresh.replace(path)
