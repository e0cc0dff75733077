"""The job on roll-ups: merges increments every few seconds, adds up deltas, finds the edges of each minute, and ages
what is old.

Of all processes on a database one does it at a time. It can be killed anywhere: the next round goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.tasks import end_task
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.catalog import to_datetime
from ares_otel.storage.partitions.lock import Connect, exclusive
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.rollups import aging, edges, last_hour
from ares_otel.storage.rollups.logs import merge_logs
from ares_otel.storage.rollups.observer import RollupObserver, SilentRollupObserver
from ares_otel.storage.rollups.spans import merge_spans
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.rows.encoded import DELTAS, LOG_ROLLUPS, SPAN_ROLLUPS
from ares_otel.storage.sqlstate import DATABASE_ERRORS, is_timeout
from ares_otel.storage.totals.adding import add_up
from ares_otel.storage.totals.pruning import prune_totals
from ares_otel.storage.totals.refusals import MOST as REFUSALS
from ares_otel.storage.totals.refusals import add_one, is_about_arrivals

INTERVAL = 5.0
"""Seconds between two rounds."""
LOCK = 0x41726573_526F6C6C
"""Key of the job's lock ("AresRoll")."""
BATCH = 20_000
"""Increments of one transaction. More are cheaper, as each rewrites the histograms of its minutes; but when every one
is of another operation, so many take three seconds and 60 MiB."""
SHARE = 0.05
"""Part of the time that merging may take while it keeps up, and finding edges always: there are longer rests then."""
LONGEST_REST = 60.0
LEASE = 300.0
"""Seconds after which the lock is let go, for another process to have its turn."""
ELSEWHERE = 15.0
"""Seconds until the next look whether the process that does the job is still there."""
EDGE_MINUTES = 20
"""Minutes whose edges one round finds."""
EDGE_SECONDS = 30
"""The longest time that finding the edges of a minute may take."""
AGE_INTERVAL = 600.0
"""Seconds between two looks at what is old."""
VACUUM_ROWS = 2_000
"""Merged increments after which their table is vacuumed, and the ready hour that they were added to: readers pass over
what was deleted there, or written anew."""
READY = {SPAN_ROLLUPS: "operations_last_hour", LOG_ROLLUPS: "logs_last_hour"}
"""Table of increments → the ready hour."""

log = logging.getLogger("ares_otel.storage.rollups")


class Rollups:
    """Merging in the background."""

    def __init__(
        self,
        connect: Connect,
        *,
        interval: Callable[[], float] = lambda: INTERVAL,
        retention: Callable[[], RetentionSettings] = RetentionSettings,
        observer: RollupObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        pooled: bool = False,
        batch: int = BATCH,
        edge_lag: timedelta = edges.LAG,
    ) -> None:
        """
        Args:
            connect: opens a connection.
            interval: seconds between two rounds; asked before each.
            retention: how long telemetry is kept; asked when it is needed.
            pooled: whether a pooler stands between.
            batch: increments of one transaction.
            edge_lag: after the end of a minute, before its edges are found.
        """
        self._connect = connect
        self._interval = interval
        self._retention = retention
        self._observer = observer or SilentRollupObserver()
        self._clock = clock
        self._pooled = pooled
        self._batch = batch
        self._edge_lag = edge_lag
        self._edge_most = edges.MOST_CHILDREN
        self._edges_from = self._age_from = float("-inf")
        self._unvacuumed = dict.fromkeys((*READY, DELTAS), 0)
        self._complaints = Complaints(log, clock)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_doing(), name="rollups")

    async def stop(self) -> None:
        """Ends; what waits is merged by the next process. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    def wake(self) -> None:
        """Begins the next round soon: a setting changed."""
        self._wake.set()

    async def run(self) -> bool:
        """One round; False when another process does the job.

        Raises asyncpg.PostgresError or OSError.
        """
        async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
            if connection is None:
                return False
            await self._round(connection)
        return True

    async def _keep_doing(self) -> None:
        while True:
            rest = ELSEWHERE
            try:
                async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
                    if connection is None:
                        self._observer.elsewhere()
                    else:
                        await self._hold(connection)
                        rest = 0.0
            except DATABASE_ERRORS as error:
                self._fail("merge", error)
                rest = self._interval()
            except Exception:
                self._observer.failed("merge")
                log.exception("Merging roll-ups failed for a reason that is not the database's; it goes on.")
                rest = self._interval()
            await self._sleep(rest)

    async def _hold(self, connection: asyncpg.Connection) -> None:
        """Rounds with rests, until the lease ends."""
        end = self._clock.monotonic() + LEASE
        while self._clock.monotonic() < end:
            merging = await self._round(connection)
            await self._sleep(max(self._interval(), min(merging / SHARE, LONGEST_REST)))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _round(self, connection: asyncpg.Connection) -> float:
        """Everything that is due; returns how many seconds merging took. Raises when merging failed."""
        began = self._clock.monotonic()
        for table in READY:
            self._observer.waiting(table, await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608
        async with transaction(connection):
            await last_hour.move(connection)
        for table in READY:
            await self._merge(connection, table)
        self._observer.merged_all()
        await self._try("totals", connection, self._add_up)
        merging = self._clock.monotonic() - began
        await self._try("edges", connection, self._find_edges)
        await self._try("age", connection, self._age)
        return merging

    async def _merge(self, connection: asyncpg.Connection, table: str) -> None:
        while True:
            began = self._clock.monotonic()
            async with transaction(connection):
                if table == SPAN_ROLLUPS:
                    count = await merge_spans(connection, self._batch, aging.MINUTES)
                else:
                    count = await merge_logs(connection, self._batch)
            if count:
                self._observer.merged(table, count, self._clock.monotonic() - began)
            self._unvacuumed[table] += count
            if self._unvacuumed[table] >= VACUUM_ROWS:
                self._unvacuumed[table] = 0
                await connection.execute(f"VACUUM (SKIP_LOCKED) {table}, {READY[table]}")
            if count < self._batch:
                return

    async def _add_up(self, connection: asyncpg.Connection) -> None:
        """Points that came as deltas into their totals."""
        self._observer.waiting(DELTAS, await connection.fetchval(f"SELECT count(*) FROM {DELTAS}"))  # noqa: S608
        limit, refused = self._batch, 0
        while True:
            began = self._clock.monotonic()
            try:
                async with transaction(connection, one_snapshot=True):
                    count = await add_up(connection, limit)
            except Exception as error:
                if not is_about_arrivals(error) or connection.is_closed():
                    raise
                if refused >= REFUSALS:
                    return  # the next round goes on
                if limit > 1:
                    limit //= 2
                else:
                    refused += await self._set_aside(connection)
                continue
            if count:
                self._observer.merged(DELTAS, count, self._clock.monotonic() - began)
            self._unvacuumed[DELTAS] += count
            if self._unvacuumed[DELTAS] >= VACUUM_ROWS:
                self._unvacuumed[DELTAS] = 0
                await connection.execute(f"VACUUM (SKIP_LOCKED) {DELTAS}")
            if count < limit:
                return
            limit = min(2 * limit, self._batch)

    async def _set_aside(self, connection: asyncpg.Connection) -> bool:
        """One arrival that cannot be added; False when it could."""
        async with transaction(connection, one_snapshot=True):
            error = await add_one(connection)
        if error is not None:
            self._observer.refused(1)
            self._complaints.about(
                "refused",
                "A delta could not be added to the total of its series and was put into metric_delta_refused, the "
                f"others go on: {type(error).__name__}: {error}",
            )
        return error is not None

    async def _find_edges(self, connection: asyncpg.Connection) -> None:
        if self._clock.monotonic() < self._edges_from:
            return
        for minute, changed_at in await edges.due_minutes(connection, EDGE_MINUTES, self._edge_lag):
            began = self._clock.monotonic()
            try:
                async with transaction(connection, seconds=EDGE_SECONDS):
                    await edges.find_edges(connection, minute, changed_at, most=self._edge_most)
            except DATABASE_ERRORS as error:
                if is_timeout(error):
                    now = self._clock.monotonic()
                    self._edges_from = now + (now - began) / SHARE
                    self._edge_most = max(self._edge_most // 2, 1000)
                    if not connection.is_closed():
                        await edges.put_off(connection, minute)
                raise
            taken = self._clock.monotonic() - began
            self._observer.edges_found(taken)
            self._edges_from = self._clock.monotonic() + taken / SHARE
            if taken / SHARE > self._interval():
                break  # others first; it goes on after a rest
        self._observer.edges_waiting(await edges.waiting_minutes(connection, self._edge_lag))

    async def _age(self, connection: asyncpg.Connection) -> None:
        if self._clock.monotonic() < self._age_from:
            return
        self._age_from = self._clock.monotonic() + AGE_INTERVAL
        now = to_datetime(self._clock.time_ns())  # first what is old: it leaves even where an hour cannot be merged
        for table, rows in (await aging.drop_old(connection, self._retention(), now)).items():
            self._observer.pruned(table, rows)
        for table, rows in (await prune_totals(connection, self._retention(), now)).items():
            self._observer.pruned(table, rows)
        await aging.merge_hours(connection)

    async def _try(
        self, step: str, connection: asyncpg.Connection, work: Callable[[asyncpg.Connection], Awaitable[None]]
    ) -> None:
        """A step that does not stop the others. Raises when the connection is gone."""
        try:
            await work(connection)
        except (asyncpg.PostgresError, TimeoutError) as error:
            if connection.is_closed():
                raise
            self._fail(step, error)

    def _fail(self, step: str, error: BaseException) -> None:
        self._observer.failed(step)
        self._complaints.about(
            f"{step} {type(error).__name__}",
            f"Roll-ups could not be kept up ({step}), it is tried again: {type(error).__name__}: {error}",
        )
