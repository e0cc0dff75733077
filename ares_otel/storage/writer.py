"""The group-commit writer: whoever has a free connection takes all that waits and commits it as one transaction.

No timers: an idle server commits at once, a busy one commits in bulk. `write` returns after COMMIT, and not before.
Each signal has a lane of its own, so that a lock on one table leaves the others alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import Overloaded, Rejected, Retryable
from ares_otel.model.signal import Signal
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.definitions import DefinitionStore
from ares_otel.storage.observer import SilentObserver, StorageObserver
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encoded import PARTITIONED, EncodedBatch
from ares_otel.storage.sqlstate import (
    DATABASE_ERRORS,
    is_about_the_statement,
    is_contention,
    is_missing_partition,
    is_poison,
    sqlstate,
)
from ares_otel.storage.transaction import BEGIN

CONNECTIONS = 4
"""Connections that one signal may use at the same time."""
GROUP_BYTES = 16 * 1024 * 1024
QUEUE_BYTES = 64 * 1024 * 1024
PATIENCE = 30.0
"""Seconds a transaction may take before its connection is given up."""
DOWN_SECONDS = 0.5
"""After a failed connection attempt, batches are refused at once for so long: no storm of connection attempts."""
FAILING_SECONDS = 10.0
"""How long a failed transaction counts as the writer's state."""
ATTEMPTS = 3
"""Times a transaction is tried when it collides with another one."""
COPY_BYTES = 512 * 1024
"""Bytes of one COPY message: between two of them others get their turn, and the server's pace is felt."""

_DAY_NS = 86_400_000_000_000

Connect = Callable[[], Awaitable[asyncpg.Connection]]

log = logging.getLogger("ares_otel.storage.writer")


class _Waiting(NamedTuple):
    batch: EncodedBatch
    done: asyncio.Future[None]


class _Lane:
    """What waits of one signal, and how many more connections it may use."""

    def __init__(self, connections: int) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.free = connections


class Writer:
    """Commits encoded batches over a few connections of its own, opened when they are needed and kept."""

    def __init__(
        self,
        connect: Connect,
        *,
        connections: int = CONNECTIONS,
        group_bytes: int = GROUP_BYTES,
        queue_bytes: int = QUEUE_BYTES,
        observer: StorageObserver | None = None,
        on_missing_partition: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """
        Args:
            connect: opens a connection; called again after one was lost.
            group_bytes: row bytes after which a transaction takes no more batches.
            queue_bytes: row bytes that may wait; more are refused with `Overloaded`.
            on_missing_partition: called when a row found no partition: the windows are out of date.
        """
        self._connect = connect
        self._group_bytes = group_bytes
        self._queue_bytes = queue_bytes
        self._observer = observer or SilentObserver()
        self._on_missing_partition = on_missing_partition
        self._clock = clock
        self._definitions = DefinitionStore()
        self._connections = connections
        self._lanes: dict[Signal, _Lane] = {}
        self._waiting_bytes = 0
        self._idle: list[asyncpg.Connection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._complaints = Complaints(log, clock)
        self._failing = ""
        self._failed_at = 0.0
        self._down_until = 0.0
        self._away_since: float | None = None
        self._closed = False

    async def write(self, batch: EncodedBatch) -> None:
        """Stores a batch; returns after it was committed.

        Raises:
            Overloaded: too much waits already.
            Retryable: nothing was stored, or it is unknown whether it was (the connection was lost during COMMIT).
            Rejected: the database refuses the rows for what they hold; nothing was stored.
        """
        if self._closed:
            raise Retryable("Ares is stopping; send the data again later.")
        if self._waiting_bytes and self._waiting_bytes + batch.size > self._queue_bytes:
            raise Overloaded("The database is slower than the senders; send the data again later.")
        lane = self._lanes.setdefault(batch.signal, _Lane(self._connections))
        waiting = _Waiting(batch, asyncio.get_running_loop().create_future())
        lane.waiting.append(waiting)
        self._waiting_bytes += batch.size
        self._tell_queue()
        if lane.free:
            lane.free -= 1
            task = asyncio.create_task(self._drain(lane), name=f"writer {batch.signal}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await waiting.done

    @property
    def failing(self) -> str:
        """Why the last transaction failed, a sentence; empty when it was committed, or failed a while ago: who asks may
        be the one that keeps new requests away until the answer is good."""
        return self._failing if self._clock.monotonic() - self._failed_at < FAILING_SECONDS else ""

    def _fails(self, why: str) -> None:
        self._failing, self._failed_at = why, self._clock.monotonic()

    async def stop(self) -> None:
        """Commits what waits, then closes the connections. Safe twice."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        while self._idle:
            await _close(self._idle.pop())

    async def _drain(self, lane: _Lane) -> None:
        """Commits groups until nothing waits. Never raises: every failure goes to the batches it hit."""
        connection: asyncpg.Connection | None = None
        try:
            while group := self._take(lane):
                connection = await self._commit(group, connection)
        finally:
            lane.free += 1
            if connection is not None and not connection.is_closed():
                self._idle.append(connection)

    def _take(self, lane: _Lane) -> list[_Waiting]:
        """All that waits in the lane, up to the byte limit, less what nobody waits for any more."""
        group: list[_Waiting] = []
        size = 0
        while lane.waiting and (not group or size + lane.waiting[0].batch.size <= self._group_bytes):
            waiting = lane.waiting.popleft()
            self._waiting_bytes -= waiting.batch.size
            if not waiting.done.done():
                group.append(waiting)
                size += waiting.batch.size
        self._tell_queue()
        return group

    def _tell_queue(self) -> None:
        self._observer.queued(sum(len(lane.waiting) for lane in self._lanes.values()), self._waiting_bytes)

    async def _commit(
        self, group: Sequence[_Waiting], connection: asyncpg.Connection | None
    ) -> asyncpg.Connection | None:
        """Commits a group, answers its batches, and gives back a connection that is still good."""
        error: BaseException | None = None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                connection = connection or await self._open()
                async with asyncio.timeout(PATIENCE):
                    await self._transaction(connection, [waiting.batch for waiting in group])
            except Retryable as refused:
                _answer(group, refused)
                return None
            except Exception as caught:
                error = caught
                known = isinstance(caught, DATABASE_ERRORS)
                self._observer.failed(sqlstate(caught))
                connection = await self._recover(connection, keep=known and is_about_the_statement(caught))
                if not known:
                    log.exception("A transaction failed for a reason that is not the database's.")
                    break
                if attempt < ATTEMPTS and is_contention(caught):
                    continue
                break
            else:
                if self._failing:
                    self._failing = ""
                    log.warning("The database stores data again.")
                _answer(group, None)
                return connection
        assert error is not None
        if is_poison(error) and len(group) > 1:
            # One of these cannot be stored. Alone, each gets its own answer, and the others commit.
            for waiting in group:
                connection = await self._commit([waiting], connection)
            return connection
        _answer(group, self._judge(error))
        return connection

    def _judge(self, error: BaseException) -> Retryable | Rejected:
        state = sqlstate(error)
        if is_poison(error):
            self._complaints.about(state, f"The database refuses data for what it holds: {error}")
            return Rejected(f"The database refuses the data: {error} (SQLSTATE {state}).")
        if is_missing_partition(error):
            self._on_missing_partition()
            self._complaints.about(state, "Rows found no partition for their time; looking after the partitions.")
            return Retryable("The partition for the data is just being made; send it again.")
        self._complaints.about(state, f"The database did not store a group of batches: {type(error).__name__}: {error}")
        self._fails(f"The database does not store data (SQLSTATE {state}).")
        return Retryable(f"The database cannot store the data now (SQLSTATE {state}); send it again later.")

    async def _open(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        if self._clock.monotonic() < self._down_until:
            raise Retryable("The database is away; send the data again later.")
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._connect()
        except DATABASE_ERRORS as error:
            now = self._clock.monotonic()
            if self._away_since is None:
                self._away_since = now
                log.warning("The database cannot be reached: %s: %s", type(error).__name__, error)
            self._down_until = now + DOWN_SECONDS
            self._fails("The database cannot be reached.")
            self._observer.failed(sqlstate(error))
            raise Retryable("The database is away; send the data again later.") from error
        if self._away_since is not None:
            log.warning("The database is back after %.1f s.", self._clock.monotonic() - self._away_since)
            self._away_since = None
        return connection

    async def _recover(self, connection: asyncpg.Connection | None, *, keep: bool) -> asyncpg.Connection | None:
        """The connection, rolled back; None when it is lost."""
        if connection is None or connection.is_closed():
            return None
        if keep:
            try:
                async with asyncio.timeout(PATIENCE / 10):
                    await connection.execute("ROLLBACK")
                return connection
            except DATABASE_ERRORS:
                pass
        connection.terminate()
        return None

    async def _transaction(self, connection: asyncpg.Connection, batches: Sequence[EncodedBatch]) -> None:
        """Definitions first, in transactions of their own; then all rows in one."""
        started = self._clock.monotonic()
        await self._definitions.store(connection, batches, self._clock.time_ns() // _DAY_NS)
        await connection.execute(BEGIN)
        rows: dict[str, int] = {}
        for table in PARTITIONED:
            parts = [batch.tables[table] for batch in batches if table in batch.tables]
            if parts:
                await connection.copy_to_table(
                    table,
                    source=_stream([part.data for part in parts]),
                    columns=COPY_COLUMNS[table],
                    format="binary",
                )
                rows[table] = sum(part.count for part in parts)
        await connection.execute("COMMIT")
        self._observer.committed(rows, self._clock.monotonic() - started)


async def _stream(parts: Sequence[bytes | bytearray]) -> AsyncIterator[bytes]:
    yield COPY_HEADER
    for part in parts:
        for start in range(0, len(part), COPY_BYTES):
            yield bytes(memoryview(part)[start : start + COPY_BYTES])
    yield COPY_TRAILER


def _answer(group: Sequence[_Waiting], error: Exception | None) -> None:
    for waiting in group:
        if waiting.done.done():
            continue  # nobody waits any more
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(_copy(error))


def _copy(error: Exception) -> Exception:
    """Each waiting request gets an exception of its own: raising one object in many tasks mixes their tracebacks."""
    if isinstance(error, Retryable):
        return type(error)(error.message, retry_after=error.retry_after)
    if isinstance(error, Rejected):
        return type(error)(error.message, violations=error.violations)
    return error


async def _close(connection: asyncpg.Connection) -> None:
    try:
        async with asyncio.timeout(5):
            await connection.close()
    except DATABASE_ERRORS:
        connection.terminate()
