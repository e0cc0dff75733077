"""The system user that runs the embedded server: PostgreSQL refuses to run as root, so root hands it to another one."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ares_otel.model.errors import StartError

PREFERRED_USERS = ("ares-otel", "nobody")
"""Who runs root's server: the first of these that exists."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user of this machine. `switch` says that it is not the user that runs Ares."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen_options(self) -> dict[str, Any]:
        """Options of `subprocess.Popen` that start a child as this user, in no group but its own."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def take(self, path: Path) -> None:
        """Makes this user the owner of the path itself (a link is not followed)."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_user(home: Path) -> ServerUser:
    """The user that runs the server whose files are below `home`.

    Not root: always oneself. Root: the owner of a `home` that is already there, else `ares-otel`, else `nobody`.
    Raises StartError when the files belong to somebody else, or when root finds no such user.
    """
    me = os.geteuid()
    owner = home.stat().st_uid if home.exists() else None
    if me != 0:
        if owner is not None and owner != me:
            raise StartError(
                f"{home} belongs to the user {_name(owner)}; start Ares as that user or choose another --data-dir."
            )
        return ServerUser(_name(me), me, os.getegid(), switch=False)
    if owner:
        return _by_uid(owner, home.stat().st_gid)
    for name in PREFERRED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    raise StartError(
        "PostgreSQL does not run as root, and there is no user ares-otel or nobody to run it: create one with "
        "`useradd --system ares-otel`, start Ares as another user, or give --database-url."
    )


def open_the_way(directory: Path, user: ServerUser, progress: Callable[[str], None]) -> None:
    """Lets the server's user pass through every directory down to `directory`, and no more than pass.

    Only root ever changes something here: the missing execute bit, which lets a user enter a directory whose content
    it names but not list it. Each change is said. Raises StartError where it is not possible.
    """
    if not user.switch:
        return
    for step in (*reversed(directory.parents), directory):
        mode = step.stat()
        bit = _execute_bit(mode, user)
        if mode.st_mode & bit:
            continue
        try:
            os.chmod(step, stat.S_IMODE(mode.st_mode) | bit)
        except OSError as error:
            raise StartError(
                f"The user {user.name}, who runs PostgreSQL for root, cannot enter {step} ({error.strerror}); "
                "choose another --data-dir."
            ) from None
        progress(f"{step} was closed to the user {user.name}, who runs PostgreSQL: passing through is now allowed")


def _execute_bit(mode: os.stat_result, user: ServerUser) -> int:
    if mode.st_uid == user.uid:
        return stat.S_IXUSR
    if mode.st_gid == user.gid:
        return stat.S_IXGRP
    return stat.S_IXOTH


def _by_uid(uid: int, gid: int) -> ServerUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return ServerUser(str(uid), uid, gid, switch=True)
    return ServerUser(entry.pw_name, uid, entry.pw_gid, switch=True)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
