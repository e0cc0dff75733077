"""The jobs that keep the tables in bounds and in shape: retention drops what is too old or too much and prunes what
nobody needs; sealing gives closed partitions their search indexes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import asyncpg

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.catalog import to_datetime
from ares_otel.storage.partitions.housekeeping import Housekeeping
from ares_otel.storage.partitions.lock import RETENTION, SEAL, Connect, exclusive
from ares_otel.storage.partitions.observer import MaintenanceObserver, SilentMaintenanceObserver
from ares_otel.storage.partitions.removal import PATIENCE
from ares_otel.storage.partitions.retention import Retention
from ares_otel.storage.partitions.seal import Sealer
from ares_otel.storage.partitions.settings import Disk, RetentionSettings, SealSettings
from ares_otel.storage.pruning import PACE, Pace
from ares_otel.storage.sqlstate import DATABASE_ERRORS

INTERVAL = 60.0
"""Seconds between two runs."""
DISK_INTERVAL = 10.0
"""Seconds between two looks at the disk."""
SETTLE = timedelta(seconds=90)
"""From the decision to drop a partition to its detach: longer than `store.PARTITION_INTERVAL`, so that every process
has narrowed its windows by then."""

RETENTION_JOB, SEAL_JOB = "retention", "seal"

log = logging.getLogger("ares_otel.storage.maintenance")


class Maintenance:
    """Retention and sealing in the background. Of all processes on a database one at a time does each of them."""

    def __init__(
        self,
        connect: Connect,
        *,
        settings: Callable[[], RetentionSettings] = RetentionSettings,
        seal_settings: Callable[[], SealSettings] = SealSettings,
        observer: MaintenanceObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        disk: Callable[[], Disk | None] = lambda: None,
        on_narrowed: Callable[[Mapping[str, int]], None] = lambda floors: None,
        busy: Callable[[], bool] = lambda: False,
        pooled: bool = False,
        interval: float = INTERVAL,
        disk_interval: float = DISK_INTERVAL,
        settle: timedelta = SETTLE,
        patience: float = PATIENCE,
        pace: Pace = PACE,
    ) -> None:
        """
        Args:
            connect: opens a connection; each run has its own.
            settings, seal_settings: what is asked for now; read at each run.
            disk: the file system that holds the data; None where it cannot be seen.
            on_narrowed: told table → nanoseconds since 1970 before partitions below leave, for this process's windows.
            busy: whether ingest has no room for sealing now.
            pooled: whether a pooler stands between.
            interval: seconds between two runs.
            disk_interval: seconds between two looks at the disk.
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
        self._seal_settings = seal_settings
        self._busy = busy
        self._pooled = pooled
        self._interval = interval
        self._disk_interval = disk_interval
        self._settle = settle
        self._patience = patience
        self._complaints = Complaints(log, clock)
        self._housekeeping = Housekeeping(clock, observer=self._observer, complaints=self._complaints, pace=pace)
        self._wakes = {name: asyncio.Event() for name in (RETENTION_JOB, SEAL_JOB)}
        self._tasks: list[asyncio.Task[None]] = []
        self._next_run: float | None = None

    async def start(self) -> None:
        """Begins, in the background: the first runs are at once."""
        if not self._tasks:
            for name, work in ((RETENTION_JOB, self.run), (SEAL_JOB, self.seal)):
                self._tasks.append(asyncio.create_task(self._keep_doing(name, work), name=name))
            self._tasks.append(asyncio.create_task(self._watch_disk(), name="disk"))

    async def stop(self) -> None:
        """Ends; what was begun is finished by the next run of any process. Safe without `start` and twice."""
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Runs soon: the settings changed."""
        for event in self._wakes.values():
            event.set()

    @property
    def seconds_until_next_run(self) -> float:
        """Of retention; 0 while it runs."""
        return 0.0 if self._next_run is None else max(0.0, self._next_run - self._clock.monotonic())

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

    async def seal(self) -> bool:
        """One round of sealing; False when another process is at it. Raises as `run` does."""
        async with exclusive(self._connect, SEAL, pooled=self._pooled) as connection:
            if connection is None:
                return False
            sealer = Sealer(
                connection,
                self._seal_settings,
                await self._earliest_now(connection),
                observer=self._observer,
                busy=self._busy,
                pooled=self._pooled,
            )
            await sealer.run()
        return True

    async def _earliest_now(self, connection: asyncpg.Connection) -> datetime:
        """The earlier one of this machine's and the server's time: a clock that jumps ahead must delete nothing."""
        there: datetime = await connection.fetchval("SELECT now()")
        return min(there, to_datetime(self._clock.time_ns()))

    async def _watch_disk(self) -> None:
        """A disk can fill faster than retention runs."""
        while True:
            await asyncio.sleep(self._disk_interval)
            seen = self._disk()
            if seen is not None and seen.nearly_full(self._settings().disk_percent):
                self._wakes[RETENTION_JOB].set()

    async def _keep_doing(self, name: str, work: Callable[[], Awaitable[bool]]) -> None:
        wake = self._wakes[name]
        while True:
            try:
                await work()
            except DATABASE_ERRORS as error:
                self._observer.failed(name)
                self._complaints.about(name, f"The job {name} could not run: {type(error).__name__}: {error}")
            except Exception:
                self._observer.failed(name)
                log.exception("The job %s failed for a reason that is not the database's; it goes on.", name)
            if name == RETENTION_JOB:
                self._next_run = self._clock.monotonic() + self._interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await wake.wait()
            if name == RETENTION_JOB:
                self._next_run = None
            wake.clear()
