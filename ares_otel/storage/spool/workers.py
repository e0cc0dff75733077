"""Where the spools of several processes lie: each worker has a directory of its own below the common one."""

from __future__ import annotations

import os
import re
from pathlib import Path

_WORKER = re.compile(r"worker-([1-9][0-9]{0,5})")


def worker_directory(root: Path, number: int) -> Path:
    """`ROOT/worker-NUMBER`."""
    return root / f"worker-{number}"


def worker_directories(root: Path) -> dict[int, Path]:
    """The directories of workers that are there, by number, also of those that run no more. Raises OSError when the
    common one cannot be read."""
    try:
        names = os.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    numbers = sorted(int(match[1]) for name in names if (match := _WORKER.fullmatch(name)))
    return {number: path for number in numbers if (path := worker_directory(root, number)).is_dir()}


def all_spools(root: Path) -> list[Path]:
    """The common directory, which is the spool of a process without workers, and those of all workers."""
    return [root, *worker_directories(root).values()]
