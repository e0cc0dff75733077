"""The job that keeps the tables in bounds: it drops what is too old or too much, and prunes what nobody needs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.catalog import to_datetime
from ares_otel.storage.partitions.housekeeping import Housekeeping
from ares_otel.storage.partitions.lock import RETENTION, Connect, exclusive
from ares_otel.storage.partitions.observer import MaintenanceObserver, SilentMaintenanceObserver
from ares_otel.storage.partitions.removal import PATIENCE
from ares_otel.storage.partitions.retention import Retention
from ares_otel.storage.partitions.settings import Disk, RetentionSettings
from ares_otel.storage.pruning import PACE, Pace
from ares_otel.storage.sqlstate import DATABASE_ERRORS

INTERVAL = 60.0
"""Seconds between two runs."""
SETTLE = timedelta(seconds=90)
"""From the decision to drop a partition to its detach: longer than `store.PARTITION_INTERVAL`, so that every process
has narrowed its windows by then."""

log = logging.getLogger("ares_otel.storage.maintenance")


class Maintenance:
    """Retention in the background. One of all processes on a database does it at a time."""

    def __init__(
        self,
        connect: Connect,
        *,
        settings: Callable[[], RetentionSettings] = RetentionSettings,
        observer: MaintenanceObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        disk: Callable[[], Disk | None] = lambda: None,
        on_narrowed: Callable[[Mapping[str, int]], None] = lambda floors: None,
        pooled: bool = False,
        interval: float = INTERVAL,
        settle: timedelta = SETTLE,
        patience: float = PATIENCE,
        pace: Pace = PACE,
    ) -> None:
        """
        Args:
            connect: opens a connection; each run has its own.
            settings: what is asked for now; read at each run.
            disk: the file system that holds the data; None where it cannot be seen.
            on_narrowed: told table → nanoseconds since 1970 before partitions below leave, for this process's windows.
            pooled: whether a pooler stands between.
            interval: seconds between two runs.
            settle: how long other processes may take to narrow their windows.
            patience: seconds that a detach may wait for others.
            pace: how gently rows are deleted one by one.
        """
        self._connect = connect
        self._settings = settings
        self._observer = observer or SilentMaintenanceObserver()
        self._clock = clock
        self._disk = disk
        self._on_narrowed = on_narrowed
        self._pooled = pooled
        self._interval = interval
        self._settle = settle
        self._patience = patience
        self._complaints = Complaints(log, clock)
        self._housekeeping = Housekeeping(clock, observer=self._observer, complaints=self._complaints, pace=pace)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins, in the background: the first run is at once."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._keep_running(), name="retention"))

    async def stop(self) -> None:
        """Ends; what was begun is finished by the next run of any process. Safe without `start` and twice."""
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Runs soon: the settings changed."""
        self._wake.set()

    async def run(self) -> bool:
        """One run; False when another process is at it.

        Raises asyncpg.PostgresError or OSError when the database is not there. What fails for one partition is counted
        and logged, and does not stop the others.
        """
        async with exclusive(self._connect, RETENTION, pooled=self._pooled) as connection:
            if connection is None:
                return False
            settings = self._settings()
            now = await self._earliest_now(connection)
            retention = Retention(
                connection,
                settings,
                now,
                observer=self._observer,
                complaints=self._complaints,
                on_narrowed=self._on_narrowed,
                settle=self._settle,
                patience=self._patience,
            )
            await retention.run(self._disk)
            await self._housekeeping.run(connection, settings, now)
        return True

    async def _earliest_now(self, connection: asyncpg.Connection) -> datetime:
        """The earlier one of this machine's and the server's time: a clock that jumps ahead must delete nothing."""
        there: datetime = await connection.fetchval("SELECT now()")
        return min(there, to_datetime(self._clock.time_ns()))

    async def _keep_running(self) -> None:
        while True:
            try:
                await self.run()
            except DATABASE_ERRORS as error:
                self._observer.failed("run")
                self._complaints.about("run", f"Retention could not run: {type(error).__name__}: {error}")
            except Exception:
                self._observer.failed("run")
                log.exception("Retention failed for a reason that is not the database's; it goes on.")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            self._wake.clear()
