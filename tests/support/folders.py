"""Where tests put what makes many files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_IN_MEMORY, _ON_DISK = Path("/dev/shm"), Path("/tmp")
_ROOM = 4 * 1024**3
"""Bytes that have to be free in memory: containers often have 64 MiB there."""


def quick_folder() -> Path:
    """A folder in memory if there is one with room in which programs may run, else that for temporary files.
    PostgreSQL's user passes both."""
    try:
        roomy = shutil.disk_usage(_IN_MEMORY).free >= _ROOM
        runs = not os.statvfs(_IN_MEMORY).f_flag & os.ST_NOEXEC
    except OSError:
        return _ON_DISK
    return _IN_MEMORY if roomy and runs and os.access(_IN_MEMORY, os.W_OK) else _ON_DISK
