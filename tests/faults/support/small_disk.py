"""A disk that is really small: a memory file system of a few megabytes, where the machine allows to mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.support.server import own

FILLER = "filler"


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[Path]:
    """A file system of so many MiB at `path`, for root.

    Raises:
        PermissionError: this machine does not let root mount anything.
    """
    path.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", str(path)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        raise PermissionError(mounted.stderr.strip())
    try:
        own(path)
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def fill(disk: Path, leave: int = 0) -> None:
    """Fills a small disk with a file, up to the last `leave` bytes."""
    space = os.statvfs(disk)
    with (disk / FILLER).open("ab", buffering=0) as file:
        left = space.f_bavail * space.f_frsize - leave
        try:
            while left > 0:
                left -= file.write(b"\0" * min(left, 1 << 20))
        except OSError:
            pass


def make_room(disk: Path) -> None:
    """Takes the filler away."""
    (disk / FILLER).unlink(missing_ok=True)
