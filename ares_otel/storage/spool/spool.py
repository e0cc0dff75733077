"""The spool of one process: takes requests that the database cannot take now, and gives them back in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import StartError
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.data_dir import explain_os_error
from ares_otel.storage.spool import files
from ares_otel.storage.spool.errors import SpoolBroken, SpoolFull
from ares_otel.storage.spool.format import marker
from ares_otel.storage.spool.identity import read_id
from ares_otel.storage.spool.index import Amount, Index, Place, Told
from ares_otel.storage.spool.lock import SpoolLock
from ares_otel.storage.spool.observer import SilentSpoolObserver, SpoolObserver
from ares_otel.storage.spool.reader import read_places
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.recovery import Recovery
from ares_otel.storage.spool.writer import RETRY_SECONDS, SpoolWriter

SEGMENT_BYTES = 16 * 1024 * 1024
MAX_RECORDS = 500_000
"""Requests that may wait. Their keys are kept in memory."""

log = logging.getLogger("ares_otel.spool")


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that is to be replayed."""

    record: SpoolRecord
    place: Place = field(repr=False, compare=False)

    @property
    def position(self) -> tuple[int, int]:
        """Number of the segment, and offset in it in bytes."""
        return self.place.segment.number, self.place.offset


class Spool:
    """A directory of segments (docs/spool.md) with one owner.

    `append` is the promise: when it returns, the request is on the disk. A replayer takes requests with `read`, and
    says `done` when they are in the database; a request that was not done when the process ended is read again by the
    next one, also when it is in the database: its receipt there makes that harmless.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        max_records: int = MAX_RECORDS,
        observer: SpoolObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """
        Args:
            limit_bytes: of all segments together, without those in the quarantine from which nothing is to be replayed.
            segment_bytes: after which a new segment begins; one request that is larger has a segment for itself.
        """
        self.directory = directory
        self.limit_bytes = limit_bytes
        self._max_records = max_records
        self._segment_bytes = segment_bytes
        self._observer = observer or SilentSpoolObserver()
        self._clock = clock
        self._index = Index()
        self._lock = SpoolLock(directory)
        self._writer: SpoolWriter | None = None
        self._id: UUID | None = None

    @property
    def id(self) -> UUID:
        """Identity of the directory, after `open`."""
        assert self._id is not None, "the spool is not open"
        return self._id

    def open(self) -> None:
        """Makes the directory, takes its lock and finds what waits in it. Blocks; call it in a thread.

        Raises StartError when another process has the directory or when it cannot be used; never for what is in it.
        """
        assert self._writer is None, "the spool is open"
        try:
            if self.directory.exists() and not self.directory.is_dir():
                raise StartError(f"{self.directory} is a file, not a directory; choose another --spool-dir.")
            files.make_directory(self.directory)
            self._lock.acquire()
            try:
                spool = self._id = read_id(self.directory) or self._new_id()
                numbers = Recovery(self.directory, spool, self._index, self._observer).run()
                self._writer = SpoolWriter(
                    self.directory,
                    spool,
                    self._index,
                    self._observer,
                    next_numbers=numbers,
                    limit_bytes=self.limit_bytes,
                    max_records=self._max_records,
                    segment_bytes=self._segment_bytes,
                    clock=self._clock,
                )
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise StartError(explain_spool_error(error, self.directory)) from None
        self._writer.start()
        self._writer.sweep()  # a segment without records, left by a cut

    def close(self) -> None:
        """Writes what was appended, deletes what is done, gives the directory free. Blocks. Safe without `open`, and
        twice; an append after it is refused."""
        if self._writer is not None:
            self._writer.stop()
        self._lock.release()

    async def append(self, record: SpoolRecord) -> bool:
        """Returns when the record is on the disk: True when this call put it there, False when the same request
        (the same key) waited there already.

        When the waiting task is cancelled, the record is written all the same, whole, as if nobody had cancelled,
        unless the disk refuses.

        Raises:
            SpoolFull: it does not fit.
            SpoolBroken: the disk refuses; nothing of the record is kept.
            ValueError: a record that the format cannot hold.
        """
        try:
            future, first = self._open_writer().submit(record)
        except SpoolFull:
            self._observer.refused("full")
            raise
        if future is not None:
            await asyncio.wrap_future(future)
        return first

    def find(self, key: bytes) -> Told | None:
        """What the sender of this request was told; None when the request does not wait here."""
        return self._index.find(key)

    async def read(self, signal: Signal, *, max_records: int, max_bytes: int) -> list[Entry]:
        """The oldest requests that are neither done nor given to somebody, in the order in which they were appended.
        One that is larger than `max_bytes` comes alone. A request is given once, until `give_back` or a restart.

        Raises SpoolBroken when this process cannot read just now; nothing is given then.
        """
        places = self._index.take(signal, max_records, max_bytes)
        if not places:
            return []
        try:
            good, bad = await asyncio.to_thread(read_places, places, marker(self.id))
        except OSError as error:
            self._index.give_back(places)
            raise SpoolBroken(f"The spool cannot be read now: {error}.", retry_after=RETRY_SECONDS) from error
        except BaseException:
            self._index.give_back(places)
            raise
        if bad:
            self._lose(bad)
        return [Entry(record, place) for place, record in good]

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Lets `read` give these requests again, each at its place in the order."""
        self._index.give_back(entry.place for entry in entries)

    def done(self, entries: Iterable[Entry]) -> None:
        """These requests are in the database. Segments in which nothing waits are deleted soon, by another thread."""
        removed = self._index.remove(entry.place for entry in entries)
        for signal in SIGNALS.values():
            if gone := [place for place in removed if place.segment.signal is signal]:
                size = sum(place.size for place in gone)
                self._observer.done(signal, len(gone), sum(place.promised for place in gone), size)
        if any(not place.segment.records for place in removed):
            self._open_writer().sweep()

    def waiting(self, signal: Signal) -> Amount:
        """Requests of a signal that wait, also those given by `read`: how many, items in them, bytes on disk."""
        return self._index.waiting(signal)

    def has(self, signal: Signal) -> bool:
        """Whether a request of a signal waits, also one given by `read`."""
        return self._index.waiting(signal).records > 0

    @property
    def bytes_used(self) -> int:
        """Bytes of all segments from which something is still to be replayed, or which are not deleted yet."""
        return self._index.used

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest request that waits was received, nanoseconds since 1970; None when none waits."""
        return self._index.oldest_ns()

    @property
    def kept_ns(self) -> int | None:
        """The same of the oldest request on the disk, done or not: after an end without a word it is replayed again,
        so its receipt is needed as long as its segment lies there."""
        return self._index.kept_ns()

    def _open_writer(self) -> SpoolWriter:
        assert self._writer is not None, "the spool is not open"
        return self._writer

    def _new_id(self) -> UUID:
        made = uuid4()
        files.write_small(self.directory / files.ID, f"{made}\n".encode())
        return made

    def _lose(self, bad: list[tuple[Place, str]]) -> None:
        """These cannot be read any more: they are counted, and their segments are kept when they are done."""
        for place, why in bad:
            segment = place.segment
            log.error("A request in %s at byte %d cannot be read any more: %s", segment.path, place.offset, why)
            first = not segment.damaged
            segment.damaged = True
            self._index.remove([place])
            self._observer.quarantined(1 if first else 0, place.size, segment.records if first else 0)
            self._observer.lost(segment.signal, 1, place.promised)
        self._open_writer().sweep()


def holds_requests(directory: Path) -> bool:
    """Whether there are segments in a directory, from which something may have to be replayed. Needs no lock."""
    return any(files.list_signal(directory / signal.name).segments for signal in SIGNALS.values()) or any(
        one.waiting for one in files.list_quarantine(directory)
    )


def explain_spool_error(error: OSError, directory: Path) -> str:
    """One line for people about a spool that cannot be opened."""
    return explain_os_error(error, directory, what="the spool", option="--spool-dir")
