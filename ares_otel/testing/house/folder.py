"""The folder of a house: its name, its lock, and what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

PREFIX = "ares-testing-"
DOOR = "door"
"""The Unix socket."""
LOCK = "lock"
"""Held by who comes, and by the house when it goes."""
ALIVE = "alive"
"""Held by the house as long as it lives: what is left of one that was killed can be told from one that runs."""
LOG = "house.log"
FAILED = "failed"
"""Why it did not start, one sentence."""
_LONGEST_PATH = 80
_LEFT_FOR = 120.0
"""Seconds after which what a killed house left is removed: its PostgreSQL has been stopped by then."""


def folder_of(run: str) -> Path:
    """Where the house of a run of tests lives, if it does."""
    name = PREFIX + hashlib.sha256(f"{os.geteuid()} {run}".encode()).hexdigest()[:16]
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base / name)) > _LONGEST_PATH:
        base = Path("/tmp")  # a socket's path is short
    return base / name


def locked(folder: Path) -> int:
    """Makes the folder where it is missing and takes its lock; whoever closes the descriptor gives it back.

    Raises:
        RuntimeError: something of somebody else has its name.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                folder.chmod(0o711)  # root's PostgreSQL runs as another user, who passes through
        with contextlib.suppress(FileNotFoundError):  # the house that was there has just removed it
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise RuntimeError(f"{folder} is in the way of the fixture `ares`; remove it.")
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.fstat(lock).st_ino == (folder / LOCK).stat().st_ino:
                    return lock
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def hold(folder: Path) -> int:
    """Says that the house lives, until the descriptor is closed. First removes what killed ones have left."""
    for left in folder.parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            _remove_if_dead(left)
    alive = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    return alive


def _remove_if_dead(folder: Path) -> None:
    alive = folder / ALIVE
    if folder.lstat().st_uid != os.geteuid() or time.time() - alive.stat().st_mtime < _LEFT_FOR:
        return
    held = os.open(alive, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)
