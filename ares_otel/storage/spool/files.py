"""Names of the files in a spool, and the few file operations that have to be durable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ares_otel.model.signal import SIGNALS, Signal

QUARANTINE = "quarantine"
ID = "id"
SEGMENT, NEW, GONE = ".seg", ".new", ".gone"
"""A segment; one that is being made; the empty place of one that went before an older one did (without it, its number
would look lost)."""
WAITING = ".waiting"
"""Ends the name of a segment in the quarantine from which requests are still to be replayed."""
_NAME = re.compile(r"(\d{16})(\.seg|\.new|\.gone)")
_SET_ASIDE = re.compile(r"(traces|logs|metrics)-(\d{16})(?:-\d+)?\.seg(\.waiting)?")
_CHUNK = 1 << 20
_FAR = 1_000


@dataclass(slots=True)
class Listing:
    """Numbers of the files of one signal, by what they are; each list ascends."""

    segments: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)


def file_name(number: int, kind: str = SEGMENT) -> str:
    """`0000000000000001.seg`."""
    return f"{number:016d}{kind}"


def list_signal(directory: Path) -> Listing:
    """What lies in the directory of a signal; nothing when it is not there. Names of others are left alone."""
    listing = Listing()
    by_kind = {SEGMENT: listing.segments, NEW: listing.new, GONE: listing.gone}
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return listing
    for name in names:
        if match := _NAME.fullmatch(name):
            by_kind[match[2]].append(int(match[1]))
    return listing


def make_directory(path: Path) -> None:
    """Makes a directory that only its owner can read, durably. Raises OSError."""
    _make(path, 0o700)


def _make(path: Path, mode: int) -> None:
    if not path.is_dir():
        _make(path.parent, 0o777)
        path.mkdir(mode=mode, exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes what was created, renamed or deleted in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path) -> int:
    """A new, empty file to write; what had its name is removed, a link is not followed. Raises OSError."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_pieces(descriptor: int, pieces: Iterable[bytes]) -> int:
    """Writes all pieces, small ones together; returns the bytes. Raises OSError, and then some may be written."""
    written = size = 0
    waiting: list[bytes] = []
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            written += _write_all(descriptor, b"".join(waiting) if len(waiting) > 1 else piece)
            waiting, size = [], 0
    return written + _write_all(descriptor, b"".join(waiting))


def _write_all(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def cut(path: Path, length: int) -> None:
    """Shortens a file durably. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_small(path: Path, data: bytes) -> None:
    """Puts a small file into place, whole or not at all. Raises OSError."""
    new = path.with_name(path.name + NEW)
    descriptor = create(new)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)
    sync_directory(path.parent)


def leave_gone(directory: Path, number: int) -> None:
    """Notes that a segment went before an older one. Raises OSError."""
    descriptor = create(directory / file_name(number, GONE))
    os.close(descriptor)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file in the quarantine."""

    path: Path
    signal: Signal
    number: int
    waiting: bool
    """Requests in it are still to be replayed."""


def list_quarantine(root: Path) -> list[SetAside]:
    """The segments in the quarantine, oldest first. Names of others are left alone."""
    try:
        names = os.listdir(root / QUARANTINE)
    except FileNotFoundError:
        return []
    found = [
        SetAside(root / QUARANTINE / name, SIGNALS[match[1]], int(match[2]), match[3] is not None)
        for name in names
        if (match := _SET_ASIDE.fullmatch(name))
    ]
    return sorted(found, key=lambda one: (one.signal.name, one.number, one.path.name))


def missing_numbers(listing: Listing, aside: Sequence[SetAside]) -> list[int]:
    """Numbers after the oldest that still waits for which nothing stands. A number that is far from all others comes
    from a name that Ares did not give, and says nothing."""
    waiting = [*listing.segments, *(one.number for one in aside if one.waiting)]
    known = {*waiting, *listing.gone, *(one.number for one in aside)}
    after_oldest = sorted(number for number in known if number >= min(waiting, default=0))
    missing: list[int] = []
    for before, after in pairwise(after_oldest):
        if after - before <= _FAR:
            missing += range(before + 1, after)
    return missing


def set_aside(root: Path, signal: Signal, source: Path, number: int, *, waiting: bool) -> Path:
    """Moves a segment into the quarantine, durably, under a name that is free there; returns its path. One that is
    there already loses the mark that requests in it wait. Raises OSError."""
    folder = root / QUARANTINE
    make_directory(folder)
    stem = f"{signal.name}-{number:016d}"
    attempt = 0
    name = f"{stem}{SEGMENT}"
    while (folder / name).exists() or ((folder / (name + WAITING)).exists() and folder / (name + WAITING) != source):
        attempt += 1
        name = f"{stem}-{attempt}{SEGMENT}"
    target = folder / (name + WAITING if waiting else name)
    source.rename(target)
    sync_directory(folder)
    if source.parent != folder:
        sync_directory(source.parent)
    return target
