"""The embedded server's files: made once, by initdb, completely or not at all."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from ares_otel.model.errors import StartError
from ares_otel.storage.embedded_binaries import Binaries, server_environment
from ares_otel.storage.embedded_processes import kill_initdb
from ares_otel.storage.embedded_user import ServerUser

SUPERUSER = "postgres"
UNFINISHED = "data.unfinished"
_COMPLAINT = re.compile(r"(?:error|fatal|FATAL|PANIC|ERROR):\s+(.*)")
_INITDB = (
    "--encoding=UTF8",
    # Sorted by code point on every machine and in every version: an index never depends on the system's libraries.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    f"--username={SUPERUSER}",
    # The socket's directory is closed to other users; TCP is off, and if somebody turns it on, pg_hba.conf says no.
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
)


async def ensure_cluster(home: Path, binaries: Binaries, user: ServerUser, progress: Callable[[str], None]) -> Path:
    """`HOME/data`, made by initdb where it is missing. The caller holds the lock of the data directory.

    initdb works in a directory beside it that gets its name only when complete, so one that was killed half way is
    thrown away and done again. Raises StartError when it fails or when another major version made the files.
    """
    data = home / "data"
    unfinished = home / UNFINISHED
    if unfinished.exists():
        await kill_initdb(unfinished)
        shutil.rmtree(unfinished)
    if data.exists():
        _check_version(data, binaries)
        return data
    progress("Making the database's files (once; takes a few seconds)")
    await _initdb(unfinished, binaries, user)
    unfinished.rename(data)
    _sync(home)
    return data


def complaint(text: str) -> str | None:
    """The last error line of a PostgreSQL program's output, without its prefix."""
    found = _COMPLAINT.findall(text)
    return found[-1].strip() if found else None


async def _initdb(target: Path, binaries: Binaries, user: ServerUser) -> None:
    process = await asyncio.create_subprocess_exec(
        binaries.program("initdb"),
        *_INITDB,
        f"--pgdata={target}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        env=server_environment(),
        start_new_session=True,  # Ctrl-C is for Ares, which then ends it
        **user.popen_options(),
    )
    try:
        output = (await process.communicate())[0].decode(errors="replace")
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode == 0:
        return
    shutil.rmtree(target, ignore_errors=True)
    if "No space left on device" in output or "Disk quota exceeded" in output:
        raise StartError(
            f"The disk that holds {target.parent} is full (a new database needs 50 MB, and its log up to 2 GB): "
            "make room or choose another --data-dir."
        )
    # The first complaint is the cause; the ones behind it are about tidying up.
    first = _COMPLAINT.search(output)
    reason = first[1].strip() if first else f"initdb ended with {process.returncode}"
    raise StartError(f"The database's files could not be made in {target.parent}: {reason}.")


def _check_version(data: Path, binaries: Binaries) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise StartError(
            f"{data} is not a PostgreSQL data directory (PG_VERSION: {error.strerror}); "
            "restore it or choose another --data-dir."
        ) from None
    if found != str(binaries.major):
        raise StartError(
            f"{data} was made by PostgreSQL {found}, and this ares-otel brings PostgreSQL {binaries.version}: start it "
            "once more with the ares-otel that made it, save it with pg_dump and load it into a new --data-dir."
        )


def _sync(directory: Path) -> None:
    """Makes a rename in the directory survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
