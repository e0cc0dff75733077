"""The one thread that writes to a spool: all requests that wait are written and synced together."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ares_otel.model.clock import Clock
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.spool import files
from ares_otel.storage.spool.errors import SpoolBroken, SpoolFull
from ares_otel.storage.spool.format import (
    HEADER_BYTES,
    SegmentHeader,
    encode_header,
    encode_record,
    marker,
    record_size,
)
from ares_otel.storage.spool.index import Index, Place, Segment, Told
from ares_otel.storage.spool.observer import SpoolObserver
from ares_otel.storage.spool.record import SpoolRecord

RETRY_SECONDS = 5.0
"""When a sender may try again after the disk refused."""

log = logging.getLogger("ares_otel.spool")


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way to the disk. Twins share it."""

    record: SpoolRecord
    size: int
    future: Future[None]


class SpoolWriter:
    """Owns the files that are written, and deletes those in which nothing waits any more."""

    def __init__(
        self,
        root: Path,
        spool: UUID,
        index: Index,
        observer: SpoolObserver,
        *,
        next_numbers: dict[Signal, int],
        limit_bytes: int,
        max_records: int,
        segment_bytes: int,
        clock: Clock,
    ) -> None:
        self._root = root
        self._spool = spool
        self._mark = marker(spool)
        self._index = index
        self._observer = observer
        self._next = next_numbers
        self._limit_bytes = limit_bytes
        self._max_records = max_records
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._wake = threading.Condition()
        self._jobs: dict[bytes, Job] = {}
        self._taken: dict[bytes, Job] = {}
        self._queued = 0
        self._sweep = False
        self._stopping = False
        self._active: dict[Signal, tuple[int, Segment]] = {}
        self._unmended: dict[Path, int] = {}
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Writes what was submitted, deletes what is done, and ends. Blocks until then."""
        with self._wake:
            self._stopping = self._sweep = True
            self._wake.notify()
        self._thread.join()
        for descriptor, _ in self._active.values():
            os.close(descriptor)
        self._active.clear()

    def submit(self, record: SpoolRecord) -> tuple[Future[None] | None, bool]:
        """Has the record written. Gives what is done when it is durable, and whether this call made the difference:
        its twin may be on its way already, or even wait (then there is nothing to wait for).

        Raises SpoolFull when it does not fit, SpoolBroken after `stop`, and what `record_size` raises.
        """
        size = record_size(record)
        with self._wake:
            twin = self._jobs.get(record.key) or self._taken.get(record.key)
            if twin is not None:
                return twin.future, False
            if self._index.find(record.key) is not None:
                return None, False
            if self._stopping:
                raise SpoolBroken("Ares is stopping; send the data again later.")
            records = self._index.records + len(self._jobs) + len(self._taken)
            used = self._index.used + self._queued
            if used + size + HEADER_BYTES > self._limit_bytes or records >= self._max_records:
                raise SpoolFull
            job = self._jobs[record.key] = Job(record, size, Future())
            job.future.set_running_or_notify_cancel()  # from now on it is written, whoever still waits for it
            self._queued += size + HEADER_BYTES
            self._wake.notify()
        return job.future, True

    def sweep(self) -> None:
        """Has the segments deleted in which nothing waits."""
        with self._wake:
            self._sweep = True
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._jobs or self._sweep or self._stopping):
                    self._wake.wait()
                if self._stopping and not self._jobs and not self._sweep:
                    return
                self._taken, self._jobs = self._jobs, {}
                sweep, self._sweep = self._sweep, False
            jobs = list(self._taken.values())
            for signal in SIGNALS.values():
                self._write([job for job in jobs if job.record.signal is signal], signal)
            if sweep:
                self._delete_finished()

    def _write(self, jobs: list[Job], signal: Signal) -> None:
        if not jobs:
            return
        while jobs:
            try:
                self._mend()
                count = self._write_some(jobs, signal)
            except Exception as error:
                self._refuse(jobs, error)
                return
            for job in jobs[:count]:
                job.future.set_result(None)
            jobs = jobs[count:]
        if self._complained:
            self._complained = False
            log.warning("The spool can be written again.")

    def _write_some(self, jobs: list[Job], signal: Signal) -> int:
        """Makes as many of the jobs durable as fit into one segment. Returns how many; raises OSError for none."""
        active = self._active.get(signal)
        if active is not None and (active[1].damaged or active[1].size + jobs[0].size > self._segment_bytes):
            self._close(signal)
            active = None
        size = HEADER_BYTES if active is None else active[1].size
        pieces: list[bytes] = []
        count = 0
        for job in jobs:
            if count and size + job.size > self._segment_bytes:
                break
            pieces += encode_record(job.record, self._mark)
            size += job.size
            count += 1
        began = time.perf_counter()
        if active is None:
            active = self._begin(signal, pieces)
        else:
            self._continue(*active, pieces)
        self._observer.synced(time.perf_counter() - began)
        self._note(active[1], jobs[:count], size)
        return count

    def _begin(self, signal: Signal, pieces: Sequence[bytes]) -> tuple[int, Segment]:
        """A new segment with its first records: under its name only when all of it is durable."""
        number = self._next[signal]
        directory = self._root / signal.name
        new, path = (directory / files.file_name(number, kind) for kind in (files.NEW, files.SEGMENT))
        header = encode_header(SegmentHeader(signal, number, self._spool, self._clock.time_ns()))
        descriptor = files.create(new)
        named = False
        try:
            files.write_pieces(descriptor, [header, *pieces])
            os.fdatasync(descriptor)
            new.rename(path)
            named = True
            files.sync_directory(directory)
        except Exception:
            os.close(descriptor)
            with suppress(OSError):  # what has this name is deleted at the next start at the latest
                new.unlink(missing_ok=True)
            if named:
                self._take_back(path, 0)
            raise
        self._next[signal] += 1
        segment = Segment(signal, number, path, sealed=False)
        self._active[signal] = descriptor, segment
        return descriptor, segment

    def _continue(self, descriptor: int, segment: Segment, pieces: Sequence[bytes]) -> None:
        written = False
        try:
            files.write_pieces(descriptor, pieces)
            written = True
            os.fdatasync(descriptor)
            if not os.fstat(descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "Somebody deleted it", str(segment.path))
        except Exception as error:
            # After a failed sync the kernel may have dropped pages of this file: it is never written again.
            if written or getattr(error, "errno", None) == errno.EFBIG:
                self._close(segment.signal)
            self._take_back(segment.path, segment.size)
            if segment.path in self._unmended:
                self._close(segment.signal)
            raise

    def _take_back(self, path: Path, length: int) -> None:
        """Shortens a file to what was durable before, so that nothing refused is replayed; 0 deletes it."""
        self._unmended[path] = length
        with suppress(OSError):
            self._mend()

    def _mend(self) -> None:
        """Takes back what could not be taken back before. Raises OSError: until it succeeds, nothing is written."""
        for path, length in list(self._unmended.items()):
            try:
                if length:
                    files.cut(path, length)
                else:
                    path.unlink()
                    files.sync_directory(path.parent)
            except FileNotFoundError:
                pass
            del self._unmended[path]

    def _note(self, segment: Segment, jobs: Sequence[Job], size: int) -> None:
        places: list[Place] = []
        offset = segment.size or HEADER_BYTES
        for job in jobs:
            record = job.record
            told = Told(record.items, record.rejected, record.reason)
            places.append(Place(segment, offset, job.size, record.key, record.received_ns, told))
            offset += job.size
        with self._wake:  # at no moment it is counted twice, or not found
            self._index.add(segment, size, places)
            self._leave_queue(jobs)
        self._observer.appended(
            segment.signal,
            len(jobs),
            sum(job.record.items - job.record.rejected for job in jobs),
            sum(job.size for job in jobs),
        )

    def _refuse(self, jobs: Sequence[Job], error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.error(
                "The spool %s cannot be written (%s: %s); requests are refused until it can.",
                self._root,
                type(error).__name__,
                error,
            )
        for _ in jobs:
            self._observer.refused("disk")
        with self._wake:
            self._leave_queue(jobs)
        for job in jobs:
            job.future.set_exception(SpoolBroken(retry_after=RETRY_SECONDS))

    def _leave_queue(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            del self._taken[job.record.key]
            self._queued -= job.size + HEADER_BYTES

    def _close(self, signal: Signal) -> None:
        """Nothing more is written to the segment that is open."""
        if (active := self._active.pop(signal, None)) is not None:
            active[1].sealed = True
            with suppress(OSError):
                os.close(active[0])

    def _delete_finished(self) -> None:
        for segment in self._index.finished():
            if (active := self._active.get(segment.signal)) is not None and active[1] is segment:
                self._close(segment.signal)
            try:
                self._delete(segment)
            except OSError as error:
                log.warning("%s is done and cannot be deleted: %s", segment.path, error)
                continue
            self._index.forget(segment)
            self._unmended.pop(segment.path, None)
            with suppress(OSError):
                self._drop_gone(segment.signal)

    def _delete(self, segment: Segment) -> None:
        """Deletes the file of a segment, or keeps it in the quarantine when it is damaged. Raises OSError."""
        signal, directory = segment.signal, self._root / segment.signal.name
        oldest = self._index.oldest_number(signal)
        in_order = oldest is None or oldest >= segment.number
        try:
            if segment.damaged:
                files.set_aside(self._root, signal, segment.path, segment.number, waiting=False)
            elif in_order:
                segment.path.unlink()
            else:  # its number must not look lost, and a full disk must not hinder that
                gone = directory / files.file_name(segment.number, files.GONE)
                segment.path.rename(gone)
                os.truncate(gone, 0)
            files.sync_directory(directory)
        except FileNotFoundError:
            log.warning("%s was deleted by somebody else.", segment.path)

    def _drop_gone(self, signal: Signal) -> None:
        directory = self._root / signal.name
        oldest = self._index.oldest_number(signal)
        for number in files.list_signal(directory).gone:
            if oldest is None or number < oldest:
                (directory / files.file_name(number, files.GONE)).unlink()
