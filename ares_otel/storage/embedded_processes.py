"""Processes of an embedded server whose Ares is gone: found by their working directory, stopped in order.

The caller holds the lock of the data directory, so whatever still runs there belongs to nobody.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

FAST = 30.0
"""Seconds that a fast shutdown (SIGINT: disconnect everybody, write a checkpoint) may take before an immediate one."""
IMMEDIATE = 10.0
"""Seconds that an immediate shutdown (SIGQUIT: recovery at the next start) may take before SIGKILL."""
WATCHDOG = "ares-otel-watchdog"
"""What a watchdog is called in its command line, before the directory that it watches."""
_POLL = 0.05


def server_processes(pgdata: Path) -> list[psutil.Process]:
    """The PostgreSQL processes that work in `pgdata`, the postmaster first where it is among them.

    PostgreSQL makes its data directory the working directory, so name and directory together tell a server of this
    directory from any other process, whatever number postmaster.pid holds.
    """
    directory = os.path.realpath(pgdata)
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith("postgres") and process.cwd() == directory:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    pid = postmaster_pid(pgdata)
    return sorted(found, key=lambda process: (process.pid != pid, process.pid))


def postmaster_pid(pgdata: Path) -> int | None:
    """The process id in postmaster.pid; the process may be long gone."""
    lines = _pid_file(pgdata)
    try:
        return abs(int(lines[0])) if lines else None
    except ValueError:
        return None


def postmaster_state(pgdata: Path, pid: int) -> str:
    """What the postmaster with that id says of itself: `starting`, `ready`, … or an empty string."""
    lines = _pid_file(pgdata)
    return lines[7].strip() if len(lines) > 7 and lines[0].strip() == str(pid) else ""


async def stop_leftovers(pgdata: Path, progress: Callable[[str], None]) -> None:
    """Stops what a dead Ares left running in `pgdata`: politely, then less so. Says what it does."""
    left = server_processes(pgdata)
    if left:
        postmaster = left[0] if left[0].pid == postmaster_pid(pgdata) else None
        if postmaster is not None:
            progress(f"Stopping the database server of an Ares that ended without doing so (process {postmaster.pid})")
            send(postmaster, signal.SIGINT)
            if not await gone(left, FAST):
                send(postmaster, signal.SIGQUIT)
        # Without a postmaster its children leave by themselves as soon as they notice.
        if not await gone(left, IMMEDIATE):
            for process in left:
                send(process, signal.SIGKILL)
            await gone(left, IMMEDIATE)
    _drop_misleading_pid_file(pgdata)


async def kill_watchdogs(pgdata: Path) -> None:
    """Ends watchdogs of an Ares that is gone: one that is about to stop its server would stop the next one too."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-2:] == [WATCHDOG, str(pgdata)]:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    for process in found:
        send(process, signal.SIGKILL)
    await gone(found, IMMEDIATE)


async def kill_initdb(target: Path) -> None:
    """Kills an initdb that still works on `target`, with its helpers, so that nothing writes there any more."""
    while found := _initdb_processes(target):
        for process in found:
            send(process, signal.SIGKILL)
        await gone(found, IMMEDIATE)


def _initdb_processes(target: Path) -> list[psutil.Process]:
    """initdb itself first: it starts helpers, and tidies up when one of them ends."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.name() == "initdb" and f"--pgdata={target}" in process.cmdline():
                found.insert(0, process)
            elif process.name().startswith("postgres") and process.cwd() == str(target):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


async def gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Waits until all of them have ended; False when some have not after that time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while any(map(_runs, processes)):
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Sends a signal. psutil compares the process's start time first, so a reused id is never hit."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _drop_misleading_pid_file(pgdata: Path) -> None:
    """Removes a postmaster.pid whose number now belongs to another program: PostgreSQL would refuse to start.

    Common in containers, where the same few numbers come back at every start. A number of no process is left to
    PostgreSQL, which then also checks the shared memory noted in the file.
    """
    pid = postmaster_pid(pgdata)
    if pid is not None and psutil.pid_exists(pid) and not server_processes(pgdata):
        (pgdata / "postmaster.pid").unlink(missing_ok=True)


def _pid_file(pgdata: Path) -> list[str]:
    try:
        return (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []
