"""From the spool into the database: in the order in which requests came, in the background, each exactly once.

It is also who finds out that the database takes data again: while the breaker of a signal is open, nobody else asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol
from uuid import UUID

import asyncpg

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import AresError, Rejected, Unavailable
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.breaker import Breaker
from ares_otel.storage.poison import set_aside
from ares_otel.storage.probe import takes_data
from ares_otel.storage.receipts import received_at
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Entry, Spool
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.writer import NotTaken, TimedOut

RECORDS = 32
"""Requests that are replayed at the same time, at most."""
BYTES = 8 * 1024 * 1024
"""Bytes of them at most, but for a single one."""
TRIES = 5
"""Times that a request is tried which the database does not take although it takes others; then it is set aside."""
BUSY_SECONDS = 0.5
"""Seconds until the next try of a request that somebody else is storing, or that is under suspicion."""
REPORT_SECONDS = 30.0
"""How often the spool reports to the database that it is there (`ingest_spools`)."""

_REPORT = """
INSERT INTO ingest_spools (spool_id, place, seen_at, oldest_at) VALUES ($1, $2, now(), $3)
ON CONFLICT (spool_id) DO UPDATE SET place = excluded.place, seen_at = excluded.seen_at, oldest_at = excluded.oldest_at
"""

log = logging.getLogger("ares_otel.storage.replay")


class _Found(IntEnum):
    """How it stands, the worst last."""

    TAKES = 0
    """The database takes data."""
    BUSY = 1
    """It does, but a request has to wait a moment."""
    DOWN = 2
    """It does not."""


@dataclass(slots=True)
class ReplayCounts:
    """What became of replayed items."""

    stored: int = 0
    deduplicated: int = 0
    rejected: int = 0
    """Acknowledged items that the database refused; they are in `ingest_rejected`."""
    failed: int = 0
    """Items that could not be replayed now; they are still in the spool."""

    def __add__(self, other: ReplayCounts) -> ReplayCounts:
        return ReplayCounts(
            self.stored + other.stored,
            self.deduplicated + other.deduplicated,
            self.rejected + other.rejected,
            self.failed + other.failed,
        )


OnReplayed = Callable[[SpoolRecord, Accepted], None]
"""Told what became of the acknowledged items of each replayed request, after the commit."""


class Target(Protocol):
    """The store, as the replayer sees it."""

    @property
    def breakers(self) -> Mapping[Signal, Breaker]: ...

    @property
    def process(self) -> UUID: ...

    async def connect(self) -> asyncpg.Connection: ...

    async def replay(self, record: SpoolRecord) -> Accepted: ...


class Replayer:
    """Empties the spool of a store, and closes its breakers when the database takes data again."""

    def __init__(self, store: Target, spool: Spool | None, on_replayed: OnReplayed) -> None:
        """
        Args:
            spool: None where there is none: then only the breakers are looked after.
        """
        self._store = store
        self._spool = spool
        self._on_replayed = on_replayed
        self._tries: dict[bytes, int] = {}
        self._most = dict.fromkeys(SIGNALS.values(), RECORDS)
        """Requests that are replayed at the same time now."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to replay what is there. Raises asyncpg.PostgresError or OSError when the database is not there."""
        if self._spool is not None:
            await self._report()
            self._tasks.append(asyncio.create_task(self._reports(), name="spool report"))
        self._tasks += [asyncio.create_task(self._run(signal), name=f"replay {signal}") for signal in SIGNALS.values()]

    async def stop(self) -> None:
        """Ends; what is not replayed yet stays in the spool. Safe without `start`, and twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._spool is not None and tasks:
            with contextlib.suppress(*DATABASE_ERRORS):
                async with asyncio.timeout(2):
                    await self._report()

    async def drain(self) -> ReplayCounts:
        """Replays all that waits, once; what fails stays in the spool."""
        assert self._spool is not None
        counts = ReplayCounts()
        outer = self._on_replayed

        def count(record: SpoolRecord, answer: Accepted) -> None:
            counts.stored += answer.stored
            counts.deduplicated += answer.deduplicated
            counts.rejected += answer.rejected
            outer(record, answer)

        self._on_replayed = count
        try:
            for signal in SIGNALS.values():
                while self._spool.has(signal) and (found := await self._replay(signal)) is not _Found.DOWN:
                    if found is _Found.BUSY:
                        await asyncio.sleep(BUSY_SECONDS)
                counts.failed += self._spool.waiting(signal).items
        finally:
            self._on_replayed = outer
        return counts

    async def _run(self, signal: Signal) -> None:
        breaker = self._store.breakers[signal]
        while True:
            if not breaker.open and not self._has(signal):
                await breaker.wake.wait()
                breaker.wake.clear()
                continue
            if breaker.open:
                # Not exactly: several processes must not march in step.
                await asyncio.sleep(breaker.delay * random.uniform(0.8, 1.2))
            try:
                found = await (self._replay(signal) if self._has(signal) else self._probe(signal))
            except Exception:
                log.exception("The spool could not be replayed; trying again.")
                found = _Found.BUSY
            if found is _Found.DOWN:
                breaker.failed_again()
                breaker.trip(breaker.reason or "The database cannot store the data now; send it again later.")
            else:
                breaker.close()
            if found is _Found.BUSY:
                await asyncio.sleep(BUSY_SECONDS)

    def _has(self, signal: Signal) -> bool:
        return self._spool is not None and self._spool.has(signal)

    async def _probe(self, signal: Signal) -> _Found:
        return _Found.TAKES if await takes_data(self._store.connect, signal) else _Found.DOWN

    async def _replay(self, signal: Signal) -> _Found:
        """Replays some of the oldest requests. What fails stays in the spool, and is first again."""
        spool = self._spool
        assert spool is not None
        most = self._most[signal]
        # While one is under suspicion they go one by one: nobody else must be taken for it.
        entries = await spool.read(signal, max_records=1 if self._tries else most, max_bytes=BYTES)
        if not entries:
            return _Found.BUSY  # somebody else has them
        try:
            results = await asyncio.gather(*(self._store.replay(one.record) for one in entries), return_exceptions=True)
            found = _Found.TAKES
            for entry, result in zip(entries, results, strict=True):
                found = max(found, await self._settle(entry, result))
        finally:
            spool.give_back(entries)  # but for those that are done
        # A server that is too slow for many at once may be fast enough for one.
        self._most[signal] = 1 if found is _Found.DOWN else min(2 * most, RECORDS)
        return found

    async def _settle(self, entry: Entry, result: Accepted | BaseException) -> _Found:
        """What the replay of one request came to: a request that is settled is done."""
        if isinstance(result, Accepted):
            self._done(entry, result)
            return _Found.TAKES
        outcome = await self._judge(entry.record, result)
        if outcome is _Found.TAKES:
            self._done(entry, Accepted(rejected=entry.record.items - entry.record.rejected))
        return outcome

    def _done(self, entry: Entry, answer: Accepted) -> None:
        assert self._spool is not None
        record = entry.record
        self._tries.pop(record.key, None)
        # What the sender was told is safe, and is neither stored now nor was before, is rejected. Another version of
        # Ares may have found less that is invalid.
        rejected = max(0, record.items - record.rejected - answer.stored - answer.deduplicated)
        self._on_replayed(record, Accepted(answer.stored, deduplicated=answer.deduplicated, rejected=rejected))
        self._spool.done([entry])

    async def _judge(self, record: SpoolRecord, error: BaseException) -> _Found:
        """What a failure means. A request that cannot be stored, whatever happens, is set aside: then it is `TAKES`."""
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, Rejected):
            return await self._set_aside(record, error.message, None)
        if isinstance(error, NotTaken | TimedOut) or not isinstance(error, AresError):
            if not await takes_data(self._store.connect, record.signal):
                return _Found.DOWN
            tries = self._tries[record.key] = self._tries.get(record.key, 0) + 1
            if not isinstance(error, AresError):
                log.error("A request in the spool fails unexpectedly (%d of %d tries).", tries, TRIES, exc_info=error)
            if tries < TRIES:
                return _Found.BUSY
            state = error.sqlstate if isinstance(error, NotTaken) else None
            return await self._set_aside(record, f"Not stored in {tries} attempts: {error}", state)
        return _Found.DOWN if isinstance(error, Unavailable) else _Found.BUSY

    async def _set_aside(self, record: SpoolRecord, reason: str, state: str | None) -> _Found:
        try:
            connection = await self._store.connect()
            try:
                await set_aside(connection, record, self._store.process, reason=reason, state=state)
            finally:
                connection.terminate()
        except DATABASE_ERRORS:
            return _Found.DOWN
        log.warning("A request of the spool cannot be stored and went to ingest_rejected: %s", reason)
        return _Found.TAKES

    async def _reports(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._report()

    async def _report(self) -> None:
        """Tells the database that this spool is there: receipts that it may need are not pruned then."""
        spool = self._spool
        assert spool is not None
        oldest = spool.kept_ns
        place = f"{socket.gethostname()}:{spool.directory}"[:1000].encode("utf-8", "replace").decode()
        connection = await self._store.connect()
        try:
            await connection.execute(_REPORT, spool.id, place, None if oldest is None else received_at(oldest))
        finally:
            connection.terminate()
