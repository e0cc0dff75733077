"""Reads a segment from its beginning to its end, whatever it holds, in bounded memory."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from ares_otel.model.signal import Signal
from ares_otel.storage.spool.format import (
    HEAD_BYTES,
    HEADER_BYTES,
    BadBytes,
    RecordHead,
    UnknownVersion,
    decode_head,
    decode_header,
    marker,
)

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Whole:
    """A record with a right checksum."""

    offset: int
    head: RecordHead
    reason: str
    """Why items were rejected, as the sender was told."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record."""

    offset: int
    size: int
    why: str
    head: RecordHead | None = None
    """The head of the record that was there, when it is still right: then it is known what was lost."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the file cannot be a whole record, but may be the beginning of one: a write that was broken off."""

    offset: int
    size: int
    head: RecordHead | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How the segment begins. Comes first."""

    problem: str
    """Empty for a right header."""
    readable: bool
    """Whether records can follow: not in a segment of an unknown version."""


Part = Start | Whole | Damage | Tail


class _Window:
    """A file, read in large pieces."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""
        self._at = 0

    def get(self, at: int, length: int) -> bytes:
        """The bytes from `at` on; fewer than `length` at the end of the file."""
        start = at - self._at
        if start < 0 or start + length > len(self._data):
            self._data = os.pread(self._descriptor, max(length, _CHUNK), at)
            self._at, start = at, 0
        return self._data[start : start + length]


def scan(descriptor: int, signal: Signal, number: int | None, spool: UUID, *, bodies: bool = True) -> Iterator[Part]:
    """All parts of a segment, in order, without a gap; `Start` first, `Tail` only as the last.

    Args:
        signal: whose segment it is by its place.
        number: which it is by its name; None when that does not matter.
        spool: whose records are believed when the header is damaged.
        bodies: whether checksums of the payloads are compared; without, only the heads are read.

    Raises OSError when the disk cannot read.
    """
    size = os.fstat(descriptor).st_size
    file = _Window(descriptor)
    start, mark = _start(file.get(0, HEADER_BYTES), signal, number, spool)
    yield start
    if not start.readable or size < HEADER_BYTES:
        yield Damage(0, size, start.problem)
        return
    at = HEADER_BYTES
    while at < size:
        part = _part(file, at, size, mark, signal, bodies)
        yield part
        at = part.offset + (part.head.size if isinstance(part, Whole) else part.size)


def _start(data: bytes, signal: Signal, number: int | None, spool: UUID) -> tuple[Start, bytes]:
    try:
        header = decode_header(data)
    except UnknownVersion as error:
        return Start(str(error), False), b""
    except BadBytes as error:
        return Start(str(error), True), marker(spool)
    problem = ""
    if header.signal is not signal:
        problem = f"The header says {header.signal}, the place of the file says {signal}."
    elif number is not None and header.number != number:
        problem = f"The header has number {header.number}, the file's name has {number}."
    return Start(problem, True), marker(header.spool)


def _part(file: _Window, at: int, size: int, mark: bytes, signal: Signal, bodies: bool) -> Whole | Damage | Tail:
    left = size - at
    data = file.get(at, HEAD_BYTES)
    if len(data) < HEAD_BYTES:
        if data[: len(mark)] == mark[: len(data)] or not data.strip(b"\0"):
            return Tail(at, left)
        return Damage(at, left, "These bytes are no record.")
    try:
        head = decode_head(data, mark)
    except BadBytes as error:
        found = _next_head(file, at + 1, size, mark)
        if found is None and _only_zeros(file, at, size):
            return Tail(at, left)
        return Damage(at, (size if found is None else found) - at, str(error))
    if head.signal is not signal:
        return Damage(at, min(left, head.size), f"The record is one of {head.signal}.", head)
    if head.size > left:
        found = _next_head(file, at + 1, size, mark)
        return Tail(at, left, head) if found is None else Damage(at, found - at, "The record is cut short.", head)
    if bodies and _checksum(file, at + HEAD_BYTES, head.body) != head.checksum:
        found = _next_head(file, at + 1, size, mark)  # bytes may have been put in or taken out
        return Damage(at, (size if found is None else found) - at, "The checksum of the record is wrong.", head)
    return Whole(at, head, _reason(file, at, head))


def _reason(file: _Window, at: int, head: RecordHead) -> str:
    if not head.texts[3]:
        return ""
    data = file.get(at + HEAD_BYTES + sum(head.texts[:3]), head.texts[3])
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # only where the checksum was not compared
        return data.decode("utf-8", "replace")


def _checksum(file: _Window, at: int, length: int) -> int:
    checksum = 0
    while length > 0:
        data = file.get(at, min(length, _CHUNK))
        if not data:
            return -1
        checksum = zlib.crc32(data, checksum)
        at += len(data)
        length -= len(data)
    return checksum


def _next_head(file: _Window, at: int, size: int, mark: bytes) -> int | None:
    """Where the next record with a right head begins; None when there is none."""
    while at < size:
        data = file.get(at, _CHUNK)
        if len(data) < len(mark):
            return None
        found = data.find(mark)
        while found >= 0:
            try:
                decode_head(file.get(at + found, HEAD_BYTES), mark)
                return at + found
            except BadBytes:
                found = data.find(mark, found + 1)
        at += len(data) - len(mark) + 1
    return None


def _only_zeros(file: _Window, at: int, size: int) -> bool:
    while at < size:
        data = file.get(at, _CHUNK)
        if not data or data.strip(b"\0"):
            return not data
        at += len(data)
    return True
