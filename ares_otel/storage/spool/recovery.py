"""Finds, when a spool is opened, what waits in its files. Whatever they hold: it comes to an end and does not raise."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.spool import files
from ares_otel.storage.spool.index import Index, Place, Segment, Told
from ares_otel.storage.spool.observer import SpoolObserver
from ares_otel.storage.spool.scan import Damage, Start, Tail, Whole, scan

log = logging.getLogger("ares_otel.spool")


@dataclass(slots=True)
class _Found:
    """What one segment holds."""

    segment: Segment
    size: int = 0
    places: list[Place] = field(default_factory=list)
    lost: list[Damage | Tail] = field(default_factory=list)
    torn: int | None = None
    """Where an end begins that may be cut off."""
    problem: str = ""


class Recovery:
    """Fills the index of a spool whose lock is held."""

    def __init__(self, root: Path, spool: UUID, index: Index, observer: SpoolObserver) -> None:
        self._root = root
        self._spool = spool
        self._index = index
        self._observer = observer
        self._aside = files.list_quarantine(root)

    def run(self) -> dict[Signal, int]:
        """Returns the number for the next segment of each signal. Raises OSError when a directory cannot be made."""
        return {signal: self._signal(signal) for signal in SIGNALS.values()}

    def _signal(self, signal: Signal) -> int:
        directory = self._root / signal.name
        files.make_directory(directory)
        listing = files.list_signal(directory)
        for number in listing.new:  # nobody was told that something in it is safe
            with suppress(OSError):
                (directory / files.file_name(number, files.NEW)).unlink()
        aside = [one for one in self._aside if one.signal is signal]
        missing = files.missing_numbers(listing, aside)
        newest = max(listing.segments, default=0)
        paths = [(number, directory / files.file_name(number), False) for number in listing.segments]
        paths += [(one.number, one.path, True) for one in aside if one.waiting]
        for number, path, known in sorted(paths):
            segment = Segment(signal, number, path, sealed=True)
            if known:
                segment.damaged = True
                self._keep(self._read(segment, last=False))
            else:
                self._take_in(self._read(segment, last=number == newest))
        self._note_missing(directory, missing)
        self._drop_gone(directory, listing, signal)
        return max([0, *listing.segments, *listing.gone, *missing, *(one.number for one in aside)]) + 1

    def _read(self, segment: Segment, *, last: bool) -> _Found:
        found = _Found(segment)
        try:
            descriptor = os.open(segment.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            found.problem = f"It cannot be opened: {error.strerror}."
            return found
        try:
            found.size = os.fstat(descriptor).st_size
            for part in scan(descriptor, segment.signal, _number(segment), self._spool):
                self._sort(found, part, last)
        except OSError as error:
            found.problem = f"It cannot be read: {error.strerror}."
            end = found.places[-1].offset + found.places[-1].size if found.places else 0
            found.lost.append(Damage(end, max(0, found.size - end), found.problem))
        finally:
            os.close(descriptor)
        return found

    def _sort(self, found: _Found, part: Start | Whole | Damage | Tail, last: bool) -> None:
        match part:
            case Start():
                found.problem = part.problem
            case Whole():
                head = part.head
                told = Told(head.items, head.rejected, part.reason)
                place = Place(found.segment, part.offset, head.size, head.key, head.received_ns, told)
                found.places.append(place)
            case Damage():
                found.lost.append(part)
                found.problem = found.problem or part.why
            case Tail() if last:
                found.torn = part.offset
            case Tail():
                found.lost.append(part)
                found.problem = found.problem or "Its end is missing."

    def _take_in(self, found: _Found) -> None:
        """A segment from its own place: cut, set aside, or as it is."""
        segment = found.segment
        if found.problem:
            self._count_damage(found)
            segment.damaged = True
            waiting = bool(found.places)
            try:
                segment.path = files.set_aside(
                    self._root, segment.signal, segment.path, segment.number, waiting=waiting
                )
            except OSError as error:  # a full or read-only disk; when its requests are done it is tried again
                log.error("%s could not be moved to the quarantine: %s", segment.path, error)
            else:
                if not waiting:
                    return
        elif found.torn is not None:
            size, found.size = found.size, found.torn
            self._observer.torn(size - found.torn)
            log.warning("%s ended in the middle of a request; %d bytes were cut.", segment.path, size - found.torn)
            try:
                files.cut(segment.path, found.torn)
            except OSError as error:
                log.error("%s could not be cut: %s", segment.path, error)
        self._keep(found)

    def _keep(self, found: _Found) -> None:
        self._index.add(found.segment, found.size, found.places)
        if found.places:
            self._observer.found(found.segment.signal, len(found.places), sum(place.promised for place in found.places))

    def _count_damage(self, found: _Found) -> None:
        segment, lost = found.segment, sum(part.size for part in found.lost)
        self._observer.quarantined(1, lost, len(found.places))
        heads = [part.head for part in found.lost if part.head is not None]
        if heads:
            self._observer.lost(segment.signal, len(heads), sum(head.items - head.rejected for head in heads))
        log.error(
            "The segment %s of the spool is damaged and set aside (%s): %d requests of it are kept, %d bytes cannot be "
            "read.",
            segment.path,
            found.problem,
            len(found.places),
            lost,
        )

    def _note_missing(self, directory: Path, missing: list[int]) -> None:
        for number in missing:
            log.error("The segment %s of the spool is missing.", directory / files.file_name(number))
            self._observer.quarantined(1, 0, 0)
            with suppress(OSError):  # so that it is counted once
                files.leave_gone(directory, number)

    def _drop_gone(self, directory: Path, listing: files.Listing, signal: Signal) -> None:
        oldest = self._index.oldest_number(signal)
        for number in listing.gone:
            if oldest is None or number < oldest or number in listing.segments:
                with suppress(OSError):
                    (directory / files.file_name(number, files.GONE)).unlink()


def _number(segment: Segment) -> int | None:
    """A file that was set aside may have been damaged in its number."""
    return None if segment.damaged else segment.number
