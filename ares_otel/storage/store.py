"""The store of one process: encodes batches, writes them, keeps partitions ready. Every way to the tables ends here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import Retryable
from ares_otel.storage.observer import SilentObserver, StorageObserver
from ares_otel.storage.partitions import ensure_partitions, narrowed, read_windows
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.writer import Writer

PARTITION_INTERVAL = 60.0
"""Seconds between two looks at the partitions, and until this process knows what another one is about to drop."""
PARTITION_RETRY = 5.0
"""Seconds until the next look after one that failed."""
INLINE_BYTES = 16 * 1024
"""A request up to this size is encoded on the event loop: handing it to a thread would take longer."""

log = logging.getLogger("ares_otel.storage")


class Store:
    """Takes OTLP batches and answers when their rows are committed.

    `on_stored` is called after each commit, with the encoded batch; it must be quick and must not raise.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_options: Mapping[str, Any] | None = None,
        observer: StorageObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        on_stored: Callable[[EncodedBatch], None] = lambda batch: None,
    ) -> None:
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
        self.writer = Writer(self.connect, observer=self._observer, on_missing_partition=self._look_again, clock=clock)
        self._encoders = ThreadPoolExecutor(max_workers=2, thread_name_prefix="encode")
        self._wake = asyncio.Event()
        self._job: asyncio.Task[None] | None = None

    async def connect(self) -> asyncpg.Connection:
        """A new connection with this store's settings; the caller closes it."""
        return await asyncpg.connect(self._url, timeout=10, command_timeout=60, **self._options)

    async def start(self) -> None:
        """Makes the partitions that are missing, and keeps doing so.

        Raises asyncpg.PostgresError or OSError when the database is not there.
        """
        await self._keep_partitions()
        self._job = asyncio.create_task(self._partition_job(), name="partitions")

    async def stop(self) -> None:
        """Commits what was taken, then ends. Safe without `start` and twice."""
        if self._job is not None:
            self._job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._job
            self._job = None
        await self.writer.stop()
        self._encoders.shutdown(wait=False, cancel_futures=True)

    async def consume(self, batch: Batch) -> Accepted:
        """Stores a batch. Raises what `Writer.write` and `encode_batch` raise."""
        if not self.windows:
            raise Retryable("Ares is starting; send the data again later.")
        if len(batch.payload) <= INLINE_BYTES:
            encoded = encode_batch(batch, self.windows)
        else:
            loop = asyncio.get_running_loop()
            encoded = await loop.run_in_executor(self._encoders, encode_batch, batch, self.windows)
        if encoded.tables:
            await self.writer.write(encoded)
        if encoded.replaced:
            self._observer.replaced(encoded.replaced)
        self.on_stored(encoded)
        if self.on_committed is not None:
            self.on_committed(batch)
        return Accepted(encoded.stored, rejected=encoded.rejected, reason=encoded.reason)

    def narrow(self, floors: Mapping[str, int]) -> None:
        """Files rows from before these times (table → nanoseconds since 1970) under their receive time from now on: the
        partitions below are about to leave."""
        self.windows = narrowed(self.windows, floors, self._clock.time_ns())

    def _look_again(self) -> None:
        self._wake.set()

    async def _keep_partitions(self) -> None:
        connection = await self.connect()
        try:
            made = await ensure_partitions(connection, self._clock)
            if made:
                log.info("Made %d partitions, %s to %s.", len(made), made[0], made[-1])
            self.windows = await read_windows(connection, self._clock)
        finally:
            await connection.close()

    async def _partition_job(self) -> None:
        delay = PARTITION_INTERVAL
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._keep_partitions()
                delay = PARTITION_INTERVAL
            except DATABASE_ERRORS as error:
                log.warning("Partitions could not be looked after: %s: %s", type(error).__name__, error)
                self._observer.partitions_failed()
                delay = PARTITION_RETRY
