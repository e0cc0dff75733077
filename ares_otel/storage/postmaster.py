"""One run of the embedded server's main process: started, watched until it is ready, told when it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from ares_otel.model.errors import StartError
from ares_otel.storage.data_dir import open_fresh
from ares_otel.storage.embedded_binaries import Binaries, server_environment
from ares_otel.storage.embedded_cluster import complaint
from ares_otel.storage.embedded_processes import FAST, IMMEDIATE, postmaster_state
from ares_otel.storage.embedded_settings import CONFIG_FILE, LOG_DIRECTORY, LOG_PREFIX
from ares_otel.storage.embedded_socket import PORT
from ares_otel.storage.embedded_user import ServerUser

START_LOG = "postgresql-start.log"
_POLL = 0.02
_STILL_STARTING = 5.0
_TAIL = 16_384
_MISTAKE_IN_CONFIG = re.compile(r"LOG:\s+(.* in file .*)")


class Postmaster:
    """A running postmaster. It has a session of its own, so that Ctrl-C in a terminal reaches Ares only."""

    def __init__(self, data_dir: Path, pgdata: Path, socket: Path, binaries: Binaries, user: ServerUser) -> None:
        """Starts it; `ready` says when it takes connections. Raises OSError when it cannot be started."""
        self._data_dir = data_dir
        self._pgdata = pgdata
        self._loop = asyncio.get_running_loop()
        self.exited = asyncio.Event()
        with open_fresh(data_dir / START_LOG) as log:
            self._process = subprocess.Popen(
                [
                    binaries.program("postgres"),
                    "-D",
                    str(pgdata),
                    "-c",
                    f"config_file={data_dir / CONFIG_FILE}",
                    "-c",
                    f"unix_socket_directories={_list_item(socket)}",
                    "-c",
                    f"port={PORT}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=server_environment(),
                start_new_session=True,
                umask=0o077,
                **user.popen_options(),
            )
        threading.Thread(target=self._wait, name="postmaster-wait", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ending(self) -> str:
        """How it ended, in words; for a process that has."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    async def ready(self, progress: Callable[[str], None]) -> None:
        """Returns when it takes connections, after recovery if there is something to recover.

        Raises StartError with the server's own complaint when it ends instead.
        """
        told = self._loop.time()
        while postmaster_state(self._pgdata, self.pid) != "ready":
            if await self._exited_within(_POLL):
                raise StartError(f"The embedded PostgreSQL does not start: {self._complaint()}.")
            if self._loop.time() - told >= _STILL_STARTING:
                told = self._loop.time()
                progress("PostgreSQL is starting: it replays its log after a crash, which can take a while")

    async def stop(self) -> None:
        """Fast shutdown; immediate if that takes too long, SIGKILL if that does. Safe when it has ended."""
        for number, seconds in ((signal.SIGINT, FAST), (signal.SIGQUIT, IMMEDIATE), (signal.SIGKILL, IMMEDIATE)):
            self._process.send_signal(number)  # does nothing once it is reaped, so a reused id is never hit
            if await self._exited_within(seconds):
                return

    async def _exited_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.exited.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _wait(self) -> None:
        """A thread of its own: it works under every event loop, and the process is reaped even without one."""
        self._process.wait()
        try:
            self._loop.call_soon_threadsafe(self.exited.set)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    def _complaint(self) -> str:
        """Why it ended, from what it wrote at its start or to its log."""
        logs = sorted((self._data_dir / LOG_DIRECTORY).glob(f"{LOG_PREFIX}*.log"))
        # The log's newest file may be an earlier run's: what this run wrote before its log was open counts first.
        for path in (self._data_dir / START_LOG, *logs[-1:]):
            text = _tail(path)
            found = complaint(text)
            if found is None:
                continue
            mistake = _MISTAKE_IN_CONFIG.findall(text)
            if "contains errors" in found and mistake:
                return str(mistake[0]).strip()
            return found
        # What it says before it has a log has no prefix: `postgres: could not access …`.
        words = _tail(self._data_dir / START_LOG).strip().splitlines()
        return words[-1].rstrip(".") if words else f"{self.ending}, and it said nothing"


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _list_item(path: Path) -> str:
    """A path as one item of a list setting: quoted, because commas and blanks separate items."""
    return '"' + str(path).replace('"', '""') + '"'
