"""The store of one process: encodes batches, writes them, keeps partitions ready. Every way to the tables ends here.

An answer means that the request is in the database, or in the spool on disk from where it gets there exactly once. The
receipts (`storage/receipts.py`) make sure of the "once".
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.model.batch import DERIVED, Accepted, Batch
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import AresError, Retryable, Unavailable
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.breaker import Breaker
from ares_otel.storage.encoders import Encoders
from ares_otel.storage.observer import SilentObserver, StorageObserver
from ares_otel.storage.partitions import ensure_partitions, narrowed, read_windows
from ares_otel.storage.prometheus_metadata import MetadataKeeper
from ares_otel.storage.receipts import known_answer
from ares_otel.storage.replay import OnReplayed, Replayer
from ares_otel.storage.rows.encoded import EncodedBatch, Told, Windows
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Spool
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.writer import CONNECTIONS, MissingDefinitions, MissingPartition, NotTaken, Writer

PARTITION_INTERVAL = 60.0
"""Seconds between two looks at the partitions, and until this process knows what another one is about to drop."""
PARTITION_RETRY = 5.0
"""Seconds until the next look after one that failed."""
ENCODING_ATTEMPTS = 3
"""Times a request is encoded because a partition for it was missing, or a definition was left out that is needed."""

log = logging.getLogger("ares_otel.storage")


class Store:
    """Takes OTLP batches and answers when their rows are committed, or when they are safe in the spool.

    `on_stored` is called after each answer to a sender, with the encoded batch; it must be quick and must not raise.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_options: Mapping[str, Any] | None = None,
        observer: StorageObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        on_stored: Callable[[EncodedBatch], None] = lambda batch: None,
        spool: Spool | None = None,
        on_replayed: OnReplayed = lambda record, answer: None,
        connections: int = CONNECTIONS,
        encoding_threads: int = 2,
        makes_partitions: bool = True,
    ) -> None:
        """
        Args:
            connections: of the writer, for each signal.
            encoding_threads: for larger requests; 0 where the event loop serves nobody else.
            makes_partitions: False where the role may not; others have to make them ahead of time.
            spool: where requests go while the database cannot take them, opened; without one they are refused then.
                Whoever opened it closes it, after the store has stopped.
            on_replayed: told what became of each request that had gone to the spool.
        """
        self._url = url
        self._options = dict(connect_options or {})
        self._observer = observer or SilentObserver()
        self._clock = clock
        self.on_stored = on_stored
        self.on_committed: Callable[[Batch], None] | None = None
        """Called after each commit with the batch, while somebody wants to see what is stored; it must be quick and
        must not raise."""
        self.windows: Windows = {}
        """Time ranges of the existing partitions; empty until `start`."""
        self.spool = spool
        self.breakers: Mapping[Signal, Breaker] = {signal: Breaker(signal.name) for signal in SIGNALS.values()}
        """Whether the database takes data, by signal."""
        self.writer = Writer(
            self.connect,
            connections=connections,
            observer=self._observer,
            clock=clock,
            in_flights=self._options.get("statement_cache_size") != 0,  # 0 is for a pooler
        )
        self.replayer = Replayer(self, spool, on_replayed)
        self.metadata = MetadataKeeper(self.connect, clock)
        """Takes what Prometheus tells of metrics beside their samples."""
        self._makes_partitions = makes_partitions
        self._encoders = Encoders(threads=encoding_threads)
        self._under_way: dict[bytes, asyncio.Future[Accepted]] = {}
        self._job: asyncio.Task[None] | None = None
        self._partitions = asyncio.Lock()

    async def connect(self) -> asyncpg.Connection:
        """A new connection with this store's settings; the caller closes it."""
        return await asyncpg.connect(self._url, timeout=10, command_timeout=60, **self._options)

    @property
    def process(self) -> UUID:
        """Who stores, as the receipts tell."""
        return self.writer.process

    async def start(self, *, replaying: bool = True) -> None:
        """Makes the partitions that are missing, and keeps doing so; begins to replay what the spool holds.

        Args:
            replaying: False for a command that replays by itself.

        Raises asyncpg.PostgresError or OSError when the database is not there.
        """
        await self._keep_partitions()
        self._job = asyncio.create_task(self._partition_job(), name="partitions")
        if replaying:
            await self.replayer.start()

    async def stop(self) -> None:
        """Commits what was taken, then ends. Safe without `start` and twice."""
        if self._job is not None:
            self._job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._job
            self._job = None
        await self.replayer.stop()
        await self.metadata.stop()
        await self.writer.stop()
        self._encoders.close()

    async def consume(self, batch: Batch) -> Accepted:
        """Stores a batch; a batch that was stored before is answered as it was then, and not stored again.

        Raises what `encode_batch` and `Writer.write` raise; with a spool, instead of `Unavailable`, what that raises
        when it is full or broken.
        """
        twin = self._under_way.get(batch.key)
        if twin is not None:
            return await _answer_of_twin(twin)
        outcome: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._under_way[batch.key] = outcome
        try:
            answer = await self._take(batch)
        except BaseException as error:
            known = isinstance(error, AresError)
            # A copy: the error refers to this frame, and the frame to the future.
            outcome.set_exception(
                copy.copy(error) if known else Retryable("The same request failed before; send it again later.")
            )
            outcome.exception()  # looked at: there may be no twin
            raise
        else:
            outcome.set_result(answer)
            return answer
        finally:
            del self._under_way[batch.key]

    async def replay(self, record: SpoolRecord) -> Accepted:
        """Stores what was acknowledged into the spool before. Items that the database refuses now count as rejected.

        Raises what `encode_batch` and `Writer.write` raise.
        """
        batch = Batch(
            record.signal,
            record.payload,
            key=record.key,
            tenant_id=record.tenant_id,
            received_ns=record.received_ns,
            receiver=record.receiver,
            transport=record.transport,
        )
        told = Told(record.rejected, record.reason)
        encoded = await self._encode(batch, told)
        answer = await self._write(batch, encoded)
        self.breakers[record.signal].worked()
        self._tell(batch, encoded, answer)
        return answer

    async def _take(self, batch: Batch) -> Accepted:
        if not self.windows:
            raise Retryable("Ares is starting; send the data again later.")
        if self.spool is not None and (waiting := self.spool.find(batch.key)) is not None:
            return known_answer(batch.items, waiting.rejected, waiting.reason)
        encoded = await self._encode(batch)
        if encoded.replaced:
            self._observer.replaced(encoded.replaced)
        if not encoded.tables:  # nothing to store: the same request gets the same answer without a receipt
            return Accepted(rejected=encoded.rejected, reason=encoded.reason)
        breaker = self.breakers[batch.signal]
        if breaker.open:
            if self.spool is None:
                raise Unavailable(breaker.reason)
        else:
            try:
                answer = await self._write(batch, encoded)
            except (NotTaken, Unavailable) as error:
                if isinstance(error, Unavailable):  # else it is of this request, and the others go on
                    breaker.trip(error.message)
                if self.spool is None:
                    raise
            else:
                breaker.worked()
                self._tell(batch, encoded, answer)
                return answer
        assert self.spool is not None
        record = SpoolRecord.of(batch, items=encoded.items, rejected=encoded.rejected, reason=encoded.reason)
        first = await self.spool.append(record)
        breaker.wake.set()
        if batch.transport != DERIVED:
            self.on_stored(encoded)
        safe = {"spooled" if first else "deduplicated": encoded.stored}
        return Accepted(**safe, rejected=encoded.rejected, reason=encoded.reason)

    async def _encode(self, batch: Batch, told: Told | None = None, *, whole: bool = False) -> EncodedBatch:
        """Args: whole: with every definition, also of what is known."""
        if batch.received_ns >= min((window.end_ns for window in self.windows.values()), default=0):
            # This process slept for days and there are no partitions for now. Or the clock was wrong: then it looks in
            # vain, and rows are filed under the last time that there is.
            with contextlib.suppress(Unavailable):
                await self._partitions_now(self.windows)
        known = None if whole else self.writer.known
        encoded = await self._encoders.encode(batch, self.windows, known)
        if encoded.fallback:
            self._observer.fell_back(encoded.fallback)
        encoded.told = told
        return encoded

    async def _write(self, batch: Batch, encoded: EncodedBatch) -> Accepted:
        """Writes; where a partition or a definition is missing, it is made, and the request is encoded anew for what
        there is then."""
        for attempt in range(ENCODING_ATTEMPTS):
            try:
                return await self.writer.write(encoded)
            except MissingDefinitions:
                encoded = await self._encode(batch, encoded.told, whole=attempt > 0)
            except MissingPartition:
                await self._partitions_now(encoded.windows)
                encoded = await self._encode(batch, encoded.told, whole=attempt > 0)
        raise Unavailable("The partition for the data cannot be made now; send it again later.")

    def _tell(self, batch: Batch, encoded: EncodedBatch, answer: Accepted) -> None:
        if batch.transport != DERIVED:
            self.on_stored(encoded)
        if self.on_committed is not None and answer.stored:
            self.on_committed(batch)

    def narrow(self, floors: Mapping[str, int]) -> None:
        """Files rows from before these times (table → nanoseconds since 1970) under their receive time from now on: the
        partitions below are about to leave."""
        self.windows = narrowed(self.windows, floors, self._clock.time_ns())

    async def _partitions_now(self, seen: Windows) -> None:
        """Looks after the partitions, unless somebody did since `seen` was read. Raises Unavailable."""
        async with self._partitions:
            if self.windows is not seen:
                return
            try:
                await self._keep_partitions()
            except DATABASE_ERRORS as error:
                raise Unavailable("The partition for the data cannot be made now; send it again later.") from error

    async def _keep_partitions(self) -> None:
        connection = await self.connect()
        try:
            made = await ensure_partitions(connection, self._clock) if self._makes_partitions else []
            if made:
                log.info("Made %d partitions, %s to %s.", len(made), made[0], made[-1])
            self.windows = await read_windows(connection, self._clock)
        finally:
            connection.terminate()  # a goodbye may wait for a server that says nothing

    async def _partition_job(self) -> None:
        delay = PARTITION_INTERVAL
        while True:
            await asyncio.sleep(delay)
            try:
                await self._keep_partitions()
                delay = PARTITION_INTERVAL
            except DATABASE_ERRORS as error:
                log.warning("Partitions could not be looked after: %s: %s", type(error).__name__, error)
                self._observer.partitions_failed()
                delay = PARTITION_RETRY


async def _answer_of_twin(twin: asyncio.Future[Accepted]) -> Accepted:
    """The answer to a request that is under way already: the same, but the items count only once.

    Raises the twin's error, as an exception of its own.
    """
    try:
        answer = await asyncio.shield(twin)
    except Retryable as error:
        raise copy.copy(error) from None
    safe = answer.stored + answer.spooled + answer.deduplicated
    return Accepted(deduplicated=safe, rejected=answer.rejected, reason=answer.reason)
