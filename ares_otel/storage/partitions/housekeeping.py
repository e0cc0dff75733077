"""What a run of retention prunes beside partitions: rows of single services, definitions, rejected items, receipts."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta

import asyncpg

from ares_otel.model.clock import Clock
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.catalog import Partition, list_partitions
from ares_otel.storage.partitions.jobs import read_jobs
from ares_otel.storage.partitions.observer import MaintenanceObserver
from ares_otel.storage.partitions.services import ServiceRetention
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.prometheus_metadata import prune_metadata
from ares_otel.storage.pruning import PACE, DefinitionWalk, Pace, prune_receipts, prune_rejected
from ares_otel.storage.rows.encoded import KEPT


class Housekeeping:
    """Prunes, and remembers between runs what need not be looked at again."""

    def __init__(
        self, clock: Clock, *, observer: MaintenanceObserver, complaints: Complaints, pace: Pace = PACE
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._complaints = complaints
        self._pace = pace
        self._services = ServiceRetention(pace)
        self._definitions = DefinitionWalk(pace)

    async def run(self, connection: asyncpg.Connection, settings: RetentionSettings, now: datetime) -> None:
        """One round. What fails is counted and logged, and does not stop the rest.

        Raises OSError or asyncpg.InterfaceError when the database is not there.
        """
        partitions = await list_partitions(connection, KEPT)
        for service, days in settings.service_days.items():
            await self._try(self._prune_service(connection, partitions, service, days, now))
        detached = [job.partition for job in await read_jobs(connection) if job.exists]  # may have to be archived yet
        oldest = min((partition.start for partition in [*partitions, *detached]), default=now)
        await self._try(self._prune_definitions(connection, oldest))
        await self._try(self._prune_metadata(connection, oldest))
        await self._try(self._prune_rejected(connection, settings, now))
        await self._try(self._prune_receipts(connection, settings))

    async def _try(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (asyncpg.PostgresError, TimeoutError) as error:
            self._observer.failed("prune")
            self._complaints.about(
                f"prune {type(error).__name__}", f"Old rows could not be deleted yet: {type(error).__name__}: {error}"
            )

    async def _prune_service(
        self, connection: asyncpg.Connection, partitions: list[Partition], service: str, days: float, now: datetime
    ) -> None:
        for table, rows in (await self._services.run(connection, partitions, service, days, now)).items():
            self._observer.pruned(table, rows)

    async def _prune_definitions(self, connection: asyncpg.Connection, oldest: datetime) -> None:
        for table, rows in (await self._definitions.run(connection, oldest)).items():
            self._observer.pruned(table, rows)

    async def _prune_metadata(self, connection: asyncpg.Connection, oldest: datetime) -> None:
        self._observer.pruned("prometheus_metadata", await prune_metadata(connection, oldest, self._pace))

    async def _prune_rejected(self, connection: asyncpg.Connection, settings: RetentionSettings, now: datetime) -> None:
        rows = await prune_rejected(
            connection, now, days=settings.rejected_days, rows=settings.rejected_rows, pace=self._pace
        )
        self._observer.pruned("ingest_rejected", rows)

    async def _prune_receipts(self, connection: asyncpg.Connection, settings: RetentionSettings) -> None:
        rows = await prune_receipts(
            connection,
            self._clock,
            timedelta(hours=settings.receipts_hours),
            pace=self._pace,
            complain=self._complaints.about,
        )
        self._observer.pruned("ingest_receipts", rows)
