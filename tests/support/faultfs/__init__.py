"""A disk that fails on demand: a small library in front of libc, for a subprocess of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("faultfs.c")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(directory: Path) -> Path:
    """Compiles the library; needs `COMPILER`."""
    assert COMPILER is not None
    library = directory / "faultfs.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def environment(library: Path, control: Path, below: Path) -> Mapping[str, str]:
    """Variables for a process whose disk obeys the file `control`, for the files below a directory.

    `control` holds one line, `CALL ERRNO MILLISECONDS`: CALL is `write`, `sync`, `syncdir` (of a directory),
    `truncate`, `all` or `none`; ERRNO 0 lets the call through after the delay. The file is read at each call, so a test
    can change its mind.
    """
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAULTFS_CONTROL": str(control),
        "FAULTFS_BELOW": str(below.resolve()),
    }
