"""The data directory: where it is by default, and the lock that gives it one owner at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from ares_otel.model.errors import StartError

_LOCK_NAME = "ares-otel.lock"
_SHOWN_COMMAND = 160
_MAX_HOLDER = 16_384
_CREDENTIALS = re.compile(r"(?<=://)[^@/\s]*@")
_PASSWORD_OPTION = re.compile(r"(?i)(password=)[^&\s]*")


def default_data_dir() -> Path:
    """`~/.local/share/ares-otel`; for root `/var/lib/ares-otel`.

    Root has its own default because PostgreSQL refuses to run as root: its server runs as another user, and `/root` is
    closed to that user. Raises StartError when the user has no home directory.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/ares-otel")
    try:
        return Path.home() / ".local" / "share" / "ares-otel"
    except RuntimeError:
        raise StartError("This user has no home directory; say where the data goes with --data-dir.") from None


def explain_os_error(
    error: OSError, directory: Path, *, what: str = "the data directory", option: str = "--data-dir"
) -> str:
    """One line for people about a file operation below a directory that failed.

    Args:
        what: what the directory is; `option`: the one that names it.
    """
    where = error.filename if isinstance(error.filename, str) else str(directory)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"The disk that holds {where} is full; make room or choose another {option}."
        case errno.EACCES | errno.EPERM:
            return f"No permission to write {where}; change its owner or choose another {option}."
        case errno.EROFS:
            return f"{where} is on a read-only file system; choose another {option}."
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR | errno.ELOOP:
            return f"{where} is in the way of {what}; remove it or choose another {option}."
        case errno.ENAMETOOLONG:
            return f"The path {directory} is too long for this file system; choose a shorter {option}."
        case _:
            reason = error.strerror or error
            return f"{what[0].upper()}{what[1:]} cannot be used: {where}: {reason}; choose another {option}."


class DataDir:
    """A data directory and its lock. While one process holds the lock, a second one is told who that is.

    The lock is an flock on a file in the directory: the kernel drops it when the process ends, however it ends.
    """

    def __init__(self, path: Path) -> None:
        """Raises StartError for `~NAME/…` of a user whom the system does not know."""
        try:
            self.path = Path(os.path.realpath(path.expanduser()))
        except RuntimeError:
            raise StartError(f"The home directory in {path} is not known; choose another --data-dir.") from None
        self._lock: int | None = None
        self._holder: dict[str, Any] = {}

    @property
    def held(self) -> bool:
        """Whether this object holds the directory."""
        return self._lock is not None

    def acquire(self) -> None:
        """Makes the directory (closed to others) where it is missing and takes its lock.

        Raises StartError, one clear line, when another process holds it or when it cannot be used.
        """
        if self._lock is not None:
            return
        try:
            if self.path.exists() and not self.path.is_dir():
                raise StartError(f"{self.path} is a file, not a directory; choose another --data-dir.")
            # Root's server runs as another user, who has to pass through (not: look into) this directory.
            self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.path / _LOCK_NAME, flags, 0o600)
        except OSError as error:
            raise StartError(explain_os_error(error, self.path)) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.geteuid() == 0:
                # Root may use the directory of a user; that user must be able to take the lock again afterwards.
                owner = self.path.stat()
                os.fchown(lock, owner.st_uid, owner.st_gid)
        except BlockingIOError:
            message = _say_who_holds(self.path, _read_holder(lock))
            os.close(lock)
            raise StartError(message) from None
        except OSError as error:
            os.close(lock)
            raise StartError(explain_os_error(error, self.path)) from None
        self._lock = lock
        self._holder = {
            "pid": os.getpid(),
            "command": own_command(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "doors": {},
        }
        self._write_holder()

    def announce(self, doors: Mapping[str, str]) -> None:
        """Notes this process's doors (name → URL), for the line that a second start gets. Without the lock: nothing."""
        if self._lock is None:
            return
        self._holder["doors"] = {name: hide_credentials(url) for name, url in doors.items()}
        self._write_holder()

    def release(self) -> None:
        """Gives the directory free. Safe without `acquire`, and twice."""
        if self._lock is None:
            return
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = None

    def _write_holder(self) -> None:
        assert self._lock is not None
        data = json.dumps(self._holder).encode()
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, data, 0)
        except OSError as error:
            raise StartError(explain_os_error(error, self.path)) from None


def open_fresh(path: Path) -> BinaryIO:
    """A new, empty file in place of whatever had its name; a link planted there is not followed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def hide_credentials(text: str) -> str:
    """The text with user names and passwords taken out of the URLs in it."""
    return _PASSWORD_OPTION.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def own_command() -> str:
    """This process's command line, shortened, without credentials."""
    try:
        words = psutil.Process().cmdline()
    except psutil.Error:
        words = []
    # `/long/path/python /long/path/ares-otel up` is known to people as `ares-otel up`.
    if len(words) > 1 and Path(words[0]).name.startswith("python") and not words[1].startswith("-"):
        words = [Path(words[1]).name, *words[2:]]
    text = hide_credentials(" ".join(words))
    return text if len(text) <= _SHOWN_COMMAND else text[: _SHOWN_COMMAND - 1] + "…"


def _read_holder(lock: int) -> dict[str, Any]:
    """What the holder wrote about itself; empty when it is just writing or the file says something else."""
    try:
        holder = json.loads(os.pread(lock, _MAX_HOLDER, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _say_who_holds(path: Path, holder: Mapping[str, Any]) -> str:
    who = "another process"
    if holder.get("pid"):
        who = f"process {holder['pid']}"
        if holder.get("command"):
            who += f" ({holder['command']})"
        if holder.get("since"):
            who += f" since {holder['since']}"
        doors = holder.get("doors")
        if isinstance(doors, dict) and doors:
            who += ", serving " + ", ".join(f"{name} {url}" for name, url in doors.items())
    return f"The data directory {path} is in use by {who}; stop that process or choose another --data-dir."
