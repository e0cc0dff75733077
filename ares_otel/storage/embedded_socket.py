"""Where the embedded server's socket lives: a directory that only its user and root may enter."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ares_otel.model.errors import StartError
from ares_otel.storage.embedded_user import ServerUser

PORT = 5432
"""Part of the socket's file name; the server listens on no TCP port."""
_MAX_PATH = 107
"""Longest path of a Unix socket, in bytes (sockaddr_un.sun_path less its NUL; unix(7))."""


def socket_url(directory: Path, *, user: str, database: str) -> str:
    """A URL that psql and asyncpg take. Port and sslmode stand in it because both would otherwise ask the variables
    PGPORT and PGSSLMODE, which people set for other servers (asyncpg reads certificates even for a socket)."""
    return f"postgresql://{user}@/{database}?host={quote(str(directory))}&port={PORT}&sslmode=disable"


def make_socket_directory(home: Path, user: ServerUser) -> Path:
    """`HOME/run` where a client can name that path, else a short directory named by a hash of the path.

    The short one is below XDG_RUNTIME_DIR, if that is the server user's own, else below /tmp. It is used only when it
    is a directory of the server's user that is closed to others. Raises StartError otherwise.
    """
    directory = home / "run"
    if _unfit(directory):
        name = f"ares-otel-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
        directory = next(base / name for base in _short_bases(user) if not _unfit(base / name))
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        user.take(directory)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid:
        raise StartError(
            f"{directory}, the place of the database's socket, does not belong to the user {user.name}; "
            "remove it or choose a shorter --data-dir."
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        directory.chmod(0o700)
    return directory


def remove_socket_directory(home: Path, directory: Path) -> None:
    """Removes a short directory that `make_socket_directory` made outside of the data directory, if it is empty."""
    if directory.parent != home:
        with suppress(OSError):  # somebody else's, or not empty: what is in it is not ours
            directory.rmdir()


def _short_bases(user: ServerUser) -> list[Path]:
    bases = [Path("/tmp")]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not user.switch:
        base = Path(runtime)
        if base.is_dir() and base.stat().st_uid == user.uid:
            bases.insert(0, base)
    return bases


def _unfit(directory: Path) -> bool:
    """Too long for a socket; or with a comma, at which libpq and asyncpg split a list of hosts."""
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}")) > _MAX_PATH or "," in str(directory)
