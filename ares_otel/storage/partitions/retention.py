"""One run of retention: finishes what was left half done, decides what has to go, and lets it go, the oldest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg

from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.archive import ArchiveError, archive, count_rows, is_whole
from ares_otel.storage.partitions.catalog import list_partitions, read_sizes
from ares_otel.storage.partitions.jobs import (
    Job,
    begin_detach,
    forget_gone,
    keep_after_all,
    mark_leaving,
    read_jobs,
    record_failure,
)
from ares_otel.storage.partitions.observer import MaintenanceObserver
from ares_otel.storage.partitions.plan import COMMAND, DISK, Removal, closed, plan_removals
from ares_otel.storage.partitions.removal import PATIENCE, detach, drop_detached, finish_detaches
from ares_otel.storage.partitions.settings import Disk, RetentionSettings
from ares_otel.storage.pinned.keeping import keep_pinned
from ares_otel.storage.rows.encoded import KEPT
from ares_otel.storage.sqlstate import DATABASE_ERRORS

_WHY = {
    "age": "it is older than its retention",
    "bytes": "the tables are larger than retention.max_bytes",
    "disk": "the disk is nearly full",
    "command": "somebody asked for it",
}

log = logging.getLogger("ares_otel.storage.maintenance")


class Retention:
    """One run, with the lock held. Every step can be broken off anywhere; the next run goes on from there."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        settings: RetentionSettings,
        now: datetime,
        *,
        observer: MaintenanceObserver,
        complaints: Complaints,
        on_narrowed: Callable[[Mapping[str, int]], None] = lambda floors: None,
        settle: timedelta = timedelta(0),
        patience: float = PATIENCE,
    ) -> None:
        """
        Args:
            now: the current time; ages are reckoned from it.
            on_narrowed: told the floors (table → nanoseconds since 1970) as soon as they are decided.
            settle: time from the decision to the detach.
            patience: seconds that a detach may wait for others.
        """
        self._connection = connection
        self._settings = settings
        self._now = now
        self._observer = observer
        self._complaints = complaints
        self._on_narrowed = on_narrowed
        self._settle = settle
        self._patience = patience

    async def run(self, disk: Callable[[], Disk | None] = lambda: None) -> None:
        """Everything that is due. Raises asyncpg.PostgresError or OSError when the database is not there."""
        await self.recover()
        await self.decide()
        for job in await read_jobs(self._connection, self._settle):
            if job.settled:
                await self.let_go(job)
        await self._emergency(disk)

    async def recover(self) -> None:
        """Ends detaches that were broken off, and forgets what somebody else dropped."""
        try:
            for name in await finish_detaches(self._connection, patience=self._patience):
                log.info("The detach of %s, which had been broken off, is finished.", name)
        except (asyncpg.PostgresError, TimeoutError) as error:
            self._fail("drop", "A detach that was broken off cannot be finished yet", error)
        await forget_gone(self._connection)

    async def decide(self) -> None:
        """Marks what has to go, and takes back what need not go any more because settings changed."""
        partitions = await list_partitions(self._connection, KEPT)
        sizes = {}
        if self._settings.max_bytes:
            sizes = await read_sizes(self._connection, [p.name for p in partitions])
        removals = plan_removals(partitions, sizes, self._settings, self._now)
        planned = {removal.partition.name for removal in removals}
        jobs = await read_jobs(self._connection, self._settle)
        leaving = {job.partition.name for job in jobs if job.leaving_reason is not None}
        attached = {p.name for p in partitions}
        if stays := [
            job.partition
            for job in jobs
            if job.leaving_reason not in (None, COMMAND) and job.partition.name in attached - planned
        ]:
            await keep_after_all(self._connection, stays)
        await self.mark([removal for removal in removals if removal.partition.name not in leaving])

    async def mark(self, removals: Sequence[Removal]) -> None:
        """Decides that partitions leave. Raises asyncpg.PostgresError."""
        if removals:
            floors = await mark_leaving(self._connection, removals)
            self._on_narrowed(floors)
            for removal in removals:
                log.info("%s is going to be dropped: %s.", removal.partition.name, _WHY[removal.reason])

    async def let_go(self, job: Job) -> bool:
        """Detaches and drops one partition; False when that has to wait for the next run."""
        partition = job.partition
        try:
            if not job.attached and not job.ours:
                await keep_after_all(self._connection, [partition])
                log.warning("%s was detached by somebody else; it is not dropped.", partition.name)
                return False
            await self._archive(job)
            if job.attached:
                await self._keep_pinned(job)
                await begin_detach(self._connection, partition.name)
                await detach(self._connection, partition, patience=self._patience)
                await self._archive_late_rows(job)
            size = await drop_detached(self._connection, partition)
        except ArchiveError as error:
            self._observer.failed("archive")
            self._complaints.about("archive", f"{error.message} {partition.name} stays until it is archived.")
            await record_failure(self._connection, partition, error)
            return False
        except DATABASE_ERRORS as error:
            self._fail("drop", f"{partition.name} could not be dropped yet", error)
            # Raises when the database is gone: then nothing else can be done either.
            await record_failure(self._connection, partition, error)
            return False
        reason = job.leaving_reason or COMMAND
        self._observer.dropped(partition.table, reason, size)
        level = logging.WARNING if reason == DISK else logging.INFO
        log.log(level, "Dropped %s (%.1f MB): %s.", partition.name, size / 1e6, _WHY[reason])
        return True

    async def _emergency(self, disk: Callable[[], Disk | None]) -> None:
        """While the disk is nearly full, the oldest closed partition goes, whatever its age."""
        while True:
            seen = disk()
            full = seen is not None and seen.nearly_full(self._settings.disk_percent)
            self._observer.disk_nearly_full(full)
            if not full:
                return
            assert seen is not None
            candidates = closed(await list_partitions(self._connection, KEPT), self._now)
            if not candidates:
                self._complaints.about(
                    "disk", f"The disk is nearly full ({seen.free / 1e6:.0f} MB free) and no closed partition is left."
                )
                return
            oldest = candidates[0]
            log.warning("The disk is nearly full (%.0f MB free): %s has to go.", seen.free / 1e6, oldest.name)
            await self.mark([Removal(oldest, DISK)])
            jobs = {job.partition.name: job for job in await read_jobs(self._connection)}
            if oldest.name not in jobs or not await self.let_go(jobs[oldest.name]):
                return

    def _fail(self, job: str, what: str, error: BaseException) -> None:
        self._observer.failed(job)
        self._complaints.about(f"{job} {what}", f"{what}: {type(error).__name__}: {error}")

    async def _archive(self, job: Job) -> None:
        """Makes sure that a verified file holds the rows, when that is asked for. Raises ArchiveError."""
        if not self._settings.archive_directory:
            return
        directory = Path(self._settings.archive_directory)
        if job.archived_to is not None and job.archived_rows is not None:
            whole = is_whole(Path(job.archived_to), directory, job.archive_id.hex, job.archived_rows)
            if whole and await count_rows(self._connection, job.partition) == job.archived_rows:
                return
        done = await archive(self._connection, job.partition, directory)
        self._observer.archived(job.partition.table, done.rows, done.size)
        log.info("Archived %s: %d rows in %s.", job.partition.name, done.rows, done.path)

    async def _keep_pinned(self, job: Job) -> None:
        """Copies the rows of pinned traces before readers lose sight of the partition."""
        async with self._connection.transaction():
            if rows := await keep_pinned(self._connection, job.partition, last=False):
                log.info("%d rows of pinned traces were copied out of %s.", rows, job.partition.name)

    async def _archive_late_rows(self, job: Job) -> None:
        """Rows may have come between the archive and the detach; from now on none can. Raises ArchiveError."""
        if self._settings.archive_directory:
            for now in await read_jobs(self._connection):
                if now.partition.name == job.partition.name:
                    await self._archive(now)
