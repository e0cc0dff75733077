"""Faults of disks and clocks that can be switched while a program runs, by a library that is loaded before others."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.support.server import open_folder

_SOURCE = Path(__file__).parent / "fault_shim.c"


@functools.cache
def library() -> Path:
    """The compiled library, made once for each version of its source."""
    source = _SOURCE.read_bytes()
    folder = Path(tempfile.gettempdir()) / f"ares-fault-shim-{os.geteuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    made = folder / f"{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not made.exists():
        fresh = made.with_name(f"{made.name}.{os.getpid()}")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", fresh, _SOURCE, "-ldl"], check=True)
        fresh.chmod(0o755)
        fresh.replace(made)
    return made


class Shim:
    """The faults of one program's files below a path."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._control = folder / "control"
        self.path = path
        self.set()

    @property
    def env(self) -> dict[str, str]:
        """Variables for the program."""
        return {
            "LD_PRELOAD": str(library()),
            "ARES_FAULT_CONTROL": str(self._control),
            "ARES_FAULT_PATH": str(self.path),
        }

    def set(self, **faults: int) -> None:
        """These faults and no others from now on; without any the program is left alone.

        `fsync_delay_ms`, `fsync_errno`, `write_errno`, `open_errno`, `clock_offset_ms`.
        """
        fresh = self._control.with_suffix(".new")
        fresh.write_text("".join(f"{name} {value}\n" for name, value in faults.items()))
        fresh.chmod(0o644)
        fresh.replace(self._control)


@contextmanager
def shim(path: Path) -> Iterator[Shim]:
    """Faults below a path for the length of a block."""
    with open_folder("ares-fault-shim-control-") as folder:
        yield Shim(folder, path)
