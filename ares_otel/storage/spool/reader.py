"""Reads the requests that are to be replayed."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from ares_otel.storage.spool.format import HEADER_BYTES, BadBytes, decode_header, decode_record, marker
from ares_otel.storage.spool.index import Place
from ares_otel.storage.spool.record import SpoolRecord

_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}


def read_places(
    places: Sequence[Place], mark: bytes
) -> tuple[list[tuple[Place, SpoolRecord]], list[tuple[Place, str]]]:
    """The records at these places; and the places that cannot be read any more, with the reason.

    Raises OSError when this process lacks something just now (memory, descriptors).
    """
    read: list[tuple[Place, SpoolRecord]] = []
    bad: list[tuple[Place, str]] = []
    for path, group in groupby(places, key=lambda place: place.segment.path):
        for place, record in _read_file(path, list(group), mark):
            if isinstance(record, str):
                bad.append((place, record))
            else:
                read.append((place, record))
    return read, bad


def _read_file(path: Path, places: Sequence[Place], mark: bytes) -> list[tuple[Place, SpoolRecord | str]]:
    found: list[tuple[Place, SpoolRecord | str]] = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return [(place, str(error.strerror)) for place in places]
    try:
        mark = _mark_of(descriptor, mark)
        for place in places:
            found.append((place, _read_one(descriptor, place, mark)))
    finally:
        os.close(descriptor)
    return found


def _mark_of(descriptor: int, mark: bytes) -> bytes:
    """A segment that was brought here from another spool has that one's marker."""
    try:
        return marker(decode_header(os.pread(descriptor, HEADER_BYTES, 0)).spool)
    except (BadBytes, OSError):
        return mark


def _read_one(descriptor: int, place: Place, mark: bytes) -> SpoolRecord | str:
    try:
        record = decode_record(os.pread(descriptor, place.size, place.offset), mark)
    except BadBytes as error:
        return str(error)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return str(error.strerror)
    return record if record.key == place.key else "Another request lies in its place."
