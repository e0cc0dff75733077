"""Looks at a spool without owning it: takes no lock, changes nothing, also while Ares writes to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.spool import files
from ares_otel.storage.spool.format import HEADER_BYTES, BadBytes, decode_header, decode_record, marker
from ares_otel.storage.spool.identity import read_id
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.scan import Damage, Start, Tail, Whole, scan


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment on the disk."""

    path: Path
    signal: Signal
    number: int
    state: str
    """`waiting`; `newest` for the last segment of its signal, which may be being written; `salvaged` for one in the
    quarantine from which requests are to be replayed; `quarantined` for one that nothing is replayed from."""


@dataclass(slots=True)
class SegmentReport:
    """What was seen of a segment."""

    file: SegmentFile
    size: int = 0
    records: int = 0
    items: int = 0
    """Those that the senders were told are safe."""
    oldest_ns: int | None = None
    tail: int = 0
    """Bytes at the end of the newest segment that are no whole record: being written, or cut at the next start."""
    problems: list[str] = field(default_factory=list)


def segment_files(directory: Path) -> list[SegmentFile]:
    """All segments of a spool, those in the quarantine last. Raises OSError, also when there is no such directory."""
    os.listdir(directory)
    found: list[SegmentFile] = []
    for signal in SIGNALS.values():
        numbers = files.list_signal(directory / signal.name).segments
        found += [
            SegmentFile(
                directory / signal.name / files.file_name(number),
                signal,
                number,
                "newest" if number == numbers[-1] else "waiting",
            )
            for number in numbers
        ]
    found += [
        SegmentFile(one.path, one.signal, one.number, "salvaged" if one.waiting else "quarantined")
        for one in files.list_quarantine(directory)
    ]
    return found


def missing_files(directory: Path) -> list[Path]:
    """Segments between others that are not there, although they were not done."""
    aside = files.list_quarantine(directory)
    return [
        directory / name / files.file_name(number)
        for name, signal in SIGNALS.items()
        for number in files.missing_numbers(
            files.list_signal(directory / name), [one for one in aside if one.signal is signal]
        )
    ]


def survey(directory: Path, *, bodies: bool) -> Iterator[SegmentReport]:
    """A report of each segment. `bodies`: compares the checksums of the payloads too. Segments that are deleted
    meanwhile are left out. Raises OSError as `segment_files` does."""
    spool = read_id(directory) or UUID(int=0)
    for file in segment_files(directory):
        report = SegmentReport(file)
        try:
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except OSError as error:
            report.problems.append(f"It cannot be opened: {error.strerror}.")
            yield report
            continue
        try:
            report.size = os.fstat(descriptor).st_size
            _look(report, descriptor, spool, bodies)
        except OSError as error:
            report.problems.append(f"It cannot be read: {error.strerror}.")
        finally:
            os.close(descriptor)
        yield report


def _look(report: SegmentReport, descriptor: int, spool: UUID, bodies: bool) -> None:
    file = report.file
    for part in scan(descriptor, file.signal, file.number, spool, bodies=bodies):
        match part:
            case Start(problem, readable):
                if problem and readable and report.size >= HEADER_BYTES:
                    report.problems.append(problem)
            case Whole(_, head):
                report.records += 1
                report.items += head.items - head.rejected
                oldest = head.received_ns if report.oldest_ns is None else report.oldest_ns
                report.oldest_ns = min(oldest, head.received_ns)
            case Damage(offset, size, why, head):
                known = "" if head is None else f" A request with {head.items - head.rejected} items was there."
                report.problems.append(f"Byte {offset}, {size} bytes: {why}{known}")
            case Tail(_, size) if file.state == "newest":
                report.tail = size
            case Tail(offset, size):
                report.problems.append(f"Byte {offset}, {size} bytes: The end of a request is missing.")


def records_of(directory: Path, file: SegmentFile) -> Iterator[SpoolRecord]:
    """The whole records of a segment, in order; nothing when it is deleted meanwhile. Raises OSError."""
    spool = read_id(directory) or UUID(int=0)
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        mark = marker(spool)
        try:
            mark = marker(decode_header(os.pread(descriptor, HEADER_BYTES, 0)).spool)
        except BadBytes:
            pass
        for part in scan(descriptor, file.signal, None, spool):
            if isinstance(part, Whole):
                yield decode_record(os.pread(descriptor, part.head.size, part.offset), mark)
    finally:
        os.close(descriptor)
