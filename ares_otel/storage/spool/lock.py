"""The lock that gives a spool directory one owner at a time."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from ares_otel.model.errors import StartError
from ares_otel.storage.data_dir import own_command

LOCK = "lock"
_MAX_HOLDER = 16_384


class SpoolLock:
    """An flock on a file in the directory: the kernel drops it when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises StartError when another process has it, and OSError when the file cannot be made."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._directory / LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder = {
                "pid": os.getpid(),
                "command": own_command(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except BlockingIOError:
            message = _say_who_holds(self._directory, descriptor)
            os.close(descriptor)
            raise StartError(message) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Safe without `acquire`, and twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _say_who_holds(directory: Path, descriptor: int) -> str:
    who = "another process"
    try:
        holder = json.loads(os.pread(descriptor, _MAX_HOLDER, 0))
        who = f"process {holder['pid']} ({holder['command']}) since {holder['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        pass  # it is just writing, or the file says something else
    return f"The spool {directory} is in use by {who}; stop that process or choose another --spool-dir."
