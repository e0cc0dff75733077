"""The group-commit writer: whoever has a free connection takes all that waits and commits it as one transaction.

No timers: an idle server commits at once, a busy one commits in bulk. `write` returns after COMMIT, and not before.
Each signal has a lane of its own, so that a lock on one table leaves the others alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg

from ares_otel.model.batch import Accepted
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import InFlight, Overloaded, Retryable, Unavailable
from ares_otel.model.signal import Signal
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.definitions import DefinitionStore
from ares_otel.storage.lane import ANOTHER_SECONDS, Lane, Waiting, mark_unsure
from ares_otel.storage.observer import SilentObserver, StorageObserver
from ares_otel.storage.poison import store_alone
from ares_otel.storage.receipts import Claim, State
from ares_otel.storage.rows.encoded import EncodedBatch
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.sqlstate import (
    DATABASE_ERRORS,
    is_about_the_statement,
    is_connection_loss,
    is_contention,
    is_missing_partition,
    is_poison,
    is_suspicious,
    is_timeout,
    sqlstate,
)
from ares_otel.storage.transaction import store_group

CONNECTIONS = 4
"""Connections that one signal may use at the same time, besides one that looks for poison."""
GROUP_BYTES = 16 * 1024 * 1024
QUEUE_BYTES = 21 * 1024 * 1024
"""Row bytes of each signal that may wait, but for a single request: 63 MiB of all three."""
PATIENCE = 8.0
"""Seconds a transaction may take before its connection is given up; more for a large one."""
PATIENCE_BYTES = 4 * 1024 * 1024
"""Row bytes for which a transaction gets one more second."""
SEARCH_PATIENCE = 120.0
"""Seconds that the search for refused items may take; it begins to end after `poison.SEARCH_SECONDS`."""
DOWN_SECONDS = 0.5
"""After a failed connection attempt, batches are refused at once for so long: no storm of connection attempts."""
ATTEMPTS = 3
"""Times a transaction is tried when it collides with another one, or when its connection breaks."""

_DAY_NS = 86_400_000_000_000

Connect = Callable[[], Awaitable[asyncpg.Connection]]

log = logging.getLogger("ares_otel.storage.writer")


class MissingPartition(Retryable):
    """The partition for the data is just being made; send it again later."""


class MissingDefinitions(Retryable):
    """What the data refers to has to be written anew; send it again later."""


class TimedOut(Unavailable):
    """The database did not store this request in time, although it was alone; send it again later."""


class NotTaken(Retryable):
    """The database does not take this request, and the request itself may be the reason; send it again later."""

    def __init__(self, message: str | None = None, sqlstate: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.sqlstate = sqlstate


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
        clock: Clock = SYSTEM_CLOCK,
        with_receipts: bool = True,
        in_flights: bool = True,
    ) -> None:
        """
        Args:
            connect: opens a connection; called again after one was lost.
            group_bytes: row bytes after which a transaction takes no more batches.
            queue_bytes: row bytes of one signal that may wait; more are refused with `Overloaded`.
            in_flights: False where a pooler stands between, which may not follow.
            with_receipts: False only to measure what receipts cost; a request that is sent again is then stored again.
        """
        self.process = uuid4()
        """Who stored something, as the receipts tell."""
        self._how = {"with_receipts": with_receipts, "in_flights": in_flights}
        self._connect = connect
        self._group_bytes = self._group_limit = group_bytes
        self._queue_bytes = queue_bytes
        self._observer = observer or SilentObserver()
        self._clock = clock
        self._definitions = DefinitionStore()
        self._connections = connections
        self._lanes: dict[Signal, Lane] = {}
        self._idle: list[asyncpg.Connection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._complaints = Complaints(log, clock)
        self._down_until = 0.0
        self._away_since: float | None = None
        self._closed = False

    @property
    def known(self) -> KnownSeries:
        """Series that batches for this writer need not define."""
        return self._definitions.series

    async def write(self, batch: EncodedBatch) -> Accepted:
        """Stores a batch; returns after it was committed, or when it is found that it was stored before.

        A row that the database refuses for what it holds is set aside (`ingest_rejected`) and counted as rejected.

        Raises:
            Overloaded: too much waits already.
            Unavailable: the database cannot store it now. It is unknown whether it did when the connection broke during
                COMMIT and the database could not be asked; writing the same batch again is harmless.
            InFlight: another process is storing the same request.
            TimedOut: it took too long, alone.
            NotTaken: the database does not take it, and perhaps never will.
            MissingPartition: a row found no partition for its time; nothing was stored.
            MissingDefinitions: the batch leaves out series that are not known any more; nothing was stored.
            Retryable: Ares is stopping, or nobody waits for the answer any more.
        """
        if self._closed:
            raise Retryable("Ares is stopping; send the data again later.")
        lane = self._lanes.setdefault(batch.signal, Lane(batch.signal, self._connections))
        if lane.size and lane.size + batch.size > self._queue_bytes:
            raise Overloaded("The database is slower than the senders; send the data again later.")
        waiting = Waiting(batch, asyncio.get_running_loop().create_future(), self._clock.monotonic())
        lane.put(waiting)
        self._tell_queue()
        self._look_after(lane)
        try:
            return await waiting.done
        finally:
            del waiting  # an error refers to this frame: together they would keep the rows until the collector comes

    def _look_after(self, lane: Lane, *, again: bool = False) -> None:
        """Lets another connection take from a lane when it shall, and looks again later while something waits."""
        if again:
            lane.looking = None
        if lane.wants_another(self._clock.monotonic()):
            lane.free -= 1
            lane.called = True
            self._begin(self._drain(lane), f"writer {lane.signal}")
        elif lane.waits and lane.free and lane.looking is None:
            look = partial(self._look_after, lane, again=True)
            lane.looking = asyncio.get_running_loop().call_later(ANOTHER_SECONDS, look)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Commits what waits, then closes the connections. Safe twice."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        for lane in self._lanes.values():
            lane.stop_looking()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_close(connection) for connection in idle))

    async def _drain(self, lane: Lane) -> None:
        """Commits groups until nothing waits. Never raises: every failure goes to the batches it hit."""
        connection: asyncpg.Connection | None = None
        try:
            while group := self._take(lane):
                connection = await self._commit(lane, group, connection)
        finally:
            lane.free += 1
            self._put_back(connection)

    async def _search_all(self, lane: Lane) -> None:
        """Finds what the database refuses in the requests that were set apart. Never raises."""
        connection: asyncpg.Connection | None = None
        try:
            while lane.poisoned:
                waiting = lane.poisoned[0]
                if not waiting.done.done():  # else nobody waits any more
                    connection, error = await self._try(connection, SEARCH_PATIENCE, partial(self._search, waiting))
                    if isinstance(error, TimeoutError):  # the database works: it refused something, and at once
                        waiting.fail(NotTaken("The search for what the database refuses takes too long."))
                    elif error is not None:
                        waiting.fail(self._judge(error, alone=True))
                lane.searched()
                self._tell_queue()
        finally:
            lane.searching = False
            self._put_back(connection)

    def _put_back(self, connection: asyncpg.Connection | None) -> None:
        if connection is not None and not connection.is_closed():
            self._idle.append(connection)

    def _take(self, lane: Lane) -> list[Waiting]:
        lane.called = False
        group = lane.take(self._group_limit, self._clock.monotonic())
        self._tell_queue()
        self._look_after(lane)
        return group

    def _tell_queue(self) -> None:
        lanes = self._lanes.values()
        self._observer.queued(sum(len(lane) for lane in lanes), sum(lane.size for lane in lanes))

    async def _commit(
        self, lane: Lane, group: Sequence[Waiting], connection: asyncpg.Connection | None
    ) -> asyncpg.Connection | None:
        """Commits a group, answers its batches, and gives back a connection that is still good."""
        patience = PATIENCE + sum(waiting.batch.size for waiting in group) / PATIENCE_BYTES
        connection, error = await self._try(connection, patience, partial(self._transaction, group))
        if error is not None and len(group) > 1 and (is_poison(error) or is_suspicious(error)):
            # One of these cannot be stored: halves of the group find out which, and the others commit.
            middle = len(group) // 2
            connection = await self._commit(lane, group[:middle], connection)
            return await self._commit(lane, group[middle:], connection)
        if error is not None and is_poison(error):
            lane.set_apart(group[0])
            if not lane.searching:
                lane.searching = True
                self._begin(self._search_all(lane), f"search {group[0].batch.signal}")
        elif error is None:
            self._group_limit = min(self._group_bytes, 2 * self._group_limit)
        else:
            if is_timeout(error):  # a slow database gets less at once
                self._group_limit = max(1, min(self._group_limit, sum(one.batch.size for one in group)) // 2)
            judged = self._judge(error, alone=len(group) == 1)
            for waiting in group:
                waiting.fail(judged)
        return connection

    async def _try(
        self,
        connection: asyncpg.Connection | None,
        patience: float,
        work: Callable[[asyncpg.Connection], Awaitable[None]],
    ) -> tuple[asyncpg.Connection | None, BaseException | None]:
        """Does the work, more than once when it collides with others or its connection breaks. Returns a connection
        that is still good, and why the work failed in the end."""
        error: BaseException | None = None
        for _ in range(ATTEMPTS):
            try:
                connection = connection or await self._open()
                async with asyncio.timeout(patience):
                    await work(connection)
            except Retryable as refused:
                return None, refused
            except Exception as caught:
                error = caught
                known = isinstance(caught, DATABASE_ERRORS)
                self._observer.failed(sqlstate(caught))
                connection = await self._recover(connection, keep=known and is_about_the_statement(caught))
                if not known:
                    log.exception("A transaction failed for a reason that is not the database's.")
                if not known or not (is_contention(caught) or is_connection_loss(caught)):
                    break
            else:
                return connection, None
        try:
            return connection, error
        finally:
            error = None  # it refers to this frame

    async def _transaction(self, group: Sequence[Waiting], connection: asyncpg.Connection) -> None:
        """Definitions first, in transactions of their own; then receipts and rows in one. Answers the batches."""
        started = self._clock.monotonic()
        group = self._complete(group)
        if not group:
            return
        batches = [waiting.batch for waiting in group]
        await self._definitions.store(connection, batches)
        claims, rows = await store_group(
            connection, batches, self.process, on_unsure=lambda: mark_unsure(group), **self._how
        )
        self._observer.committed(rows, self._clock.monotonic() - started)
        for waiting, claim in zip(group, claims, strict=True):
            self._answer_claim(waiting, claim)

    def _complete(self, group: Sequence[Waiting]) -> list[Waiting]:
        """The batches of a group whose definitions are all there or with them; the others are told."""
        self._definitions.begin(self._clock.time_ns() // _DAY_NS)
        complete = []
        for waiting in group:
            if self._definitions.holds(waiting.batch):
                complete.append(waiting)
            else:
                waiting.fail(MissingDefinitions())
        return complete

    async def _search(self, waiting: Waiting, connection: asyncpg.Connection) -> None:
        """Stores what the database takes of one request, and answers it."""
        if not self._complete([waiting]):
            return
        started = self._clock.monotonic()
        outcome = await store_alone(connection, waiting.batch, self.process, on_unsure=lambda: mark_unsure([waiting]))
        if outcome.claim.state is not State.NEW:
            self._answer_claim(waiting, outcome.claim)
            return
        self._observer.committed(outcome.rows, self._clock.monotonic() - started)
        self._observer.refused(waiting.batch.signal.name, outcome.refused)
        self._complaints.about("rejected", f"Data went to ingest_rejected: {outcome.answer.reason}")
        waiting.answer(outcome.answer)

    def _answer_claim(self, waiting: Waiting, claim: Claim) -> None:
        batch = waiting.batch
        if claim.state is State.NEW:
            waiting.answer(Accepted(batch.stored, rejected=batch.rejected, reason=batch.reason))
        elif claim.state is State.KNOWN:
            waiting.answer(claim.answer(batch.items, own_work=waiting.unsure and claim.stored_by == self.process))
        else:
            waiting.fail(InFlight())

    def _judge(self, error: BaseException, *, alone: bool) -> Retryable:
        if isinstance(error, Retryable):
            return error
        state = sqlstate(error)
        if is_missing_partition(error):
            self._complaints.about(state, "Rows found no partition for their time; looking after the partitions.")
            return MissingPartition()
        self._complaints.about(state, f"The database did not store a group of batches: {type(error).__name__}: {error}")
        if alone and is_timeout(error):
            return TimedOut(f"The database did not store this request in time (SQLSTATE {state}); send it again later.")
        if is_suspicious(error):
            return NotTaken(f"The database does not take this request (SQLSTATE {state}); send it again later.", state)
        return Unavailable(f"The database cannot store the data now (SQLSTATE {state}); send it again later.")

    async def _open(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        if self._clock.monotonic() < self._down_until:
            raise Unavailable("The database is away; send the data again later.")
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._connect()
        except DATABASE_ERRORS as error:
            now = self._clock.monotonic()
            if self._away_since is None:
                self._away_since = now
                log.warning("The database cannot be reached: %s: %s", type(error).__name__, error)
            self._down_until = now + DOWN_SECONDS
            self._observer.failed(sqlstate(error))
            raise Unavailable("The database is away; send the data again later.") from error
        self._definitions.forget()  # a new connection may lead to another server, after a failover
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
            except Exception as error:  # whatever it is: nobody may be left without an answer for it
                log.debug("A connection could not be rolled back: %s", error)
        connection.terminate()
        return None


async def _close(connection: asyncpg.Connection) -> None:
    try:
        async with asyncio.timeout(5):
            await connection.close()
    except DATABASE_ERRORS:
        connection.terminate()
