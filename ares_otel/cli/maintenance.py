"""Wires retention and sealing into a process: settings of the configuration service, own metrics, the disk."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg

from ares_otel.control.config_manager import ConfigManager
from ares_otel.model.tasks import end_task
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.query.partitions import STATES, PartitionListing, Partitions
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.storage.maintenance import Maintenance
from ares_otel.storage.partitions.settings import Disk, RetentionSettings, SealSettings
from ares_otel.storage.rows.encoded import KEPT
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

BUSY_BYTES = 8 * 1024 * 1024
"""Row bytes that wait for the writer from which on sealing makes room."""
GAUGE_SECONDS = 60.0
_ACTIONS = ("make", "seal", "drop")
_QUEUE = "ares_otel_writer_queue_bytes"


def retention_settings(manager: ConfigManager) -> RetentionSettings:
    """What the settings `retention.*`, `rejected.*` and `receipts.*` of `ares-api` say now."""
    default = RetentionSettings()
    keys = {signal: f"retention.{signal}.days" for signal in ("traces", "logs", "metrics")}
    services = manager.get_json("retention.services", {})
    return RetentionSettings(
        days=manager.get_float("retention.days", default.days),
        signal_days={signal: manager.get_float(key, 0.0) for signal, key in keys.items() if manager.version(key)},
        service_days={name: float(days) for name, days in services.items()} if isinstance(services, dict) else {},
        max_bytes=manager.get_int("retention.max_bytes", default.max_bytes),
        disk_percent=manager.get_float("retention.disk_percent", default.disk_percent),
        archive_directory=manager.get_string("retention.archive_directory", default.archive_directory),
        rejected_days=manager.get_float("rejected.days", default.rejected_days),
        rejected_rows=manager.get_int("rejected.max_rows", default.rejected_rows),
        receipts_hours=manager.get_float("receipts.hours", default.receipts_hours),
    )


def seal_settings(manager: ConfigManager) -> SealSettings:
    """What the settings `seal.*` of `ares-api` say now."""
    default = SealSettings()
    return SealSettings(
        enabled=manager.get_bool("seal.enabled", default.enabled),
        grace_hours=manager.get_float("seal.grace_hours", default.grace_hours),
        memory_mb=manager.get_int("seal.memory_mb", default.memory_mb),
        rebuild=manager.get_bool("seal.rebuild", default.rebuild),
        pack=manager.get_bool("seal.pack", default.pack),
        pack_mib=manager.get_int("seal.pack_mib", default.pack_mib),
        workers=manager.get_int("seal.workers", default.workers),
        pause_seconds=manager.get_float("seal.pause_seconds", default.pause_seconds),
        timeout_minutes=manager.get_float("seal.timeout_minutes", default.timeout_minutes),
    )


def partitions_of(pool: asyncpg.Pool, manager: ConfigManager) -> Partitions:
    """What REST and the command line show, under the settings in force."""
    return Partitions(pool, retention=lambda: retention_settings(manager), seal=lambda: seal_settings(manager))


def disk_of(directory: Path) -> Disk | None:
    """The file system of a directory; None when it cannot be asked."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return None
    return Disk(usage.used, usage.free)


class MaintenanceJobs:
    """Retention, sealing and the gauges about partitions, for the life of a process."""

    def __init__(
        self,
        store: Store,
        manager: ConfigManager,
        partitions: Partitions,
        telemetry: Telemetry,
        *,
        data_dir: Path | None,
        pooled: bool,
    ) -> None:
        """
        Args:
            data_dir: where the embedded server keeps its data; None for a server whose disk cannot be seen.
            pooled: whether a pooler stands before the database.
        """
        self._partitions = partitions
        self._telemetry = telemetry
        self._gauges: asyncio.Task[None] | None = None
        registry = telemetry.registry
        self.queue_bytes: Callable[[], float] = lambda: registry.get_sample_value(_QUEUE) or 0.0
        """Row bytes that wait for the writers of this Ares: more than a few, and sealing makes room."""
        self.maintenance = Maintenance(
            store.connect,
            settings=lambda: retention_settings(manager),
            seal_settings=lambda: seal_settings(manager),
            observer=TelemetryMaintenanceObserver(telemetry),
            disk=lambda: None if data_dir is None else disk_of(data_dir),
            on_narrowed=store.narrow,
            busy=lambda: self.queue_bytes() > BUSY_BYTES,
            pooled=pooled,
        )
        for pattern in ("retention.*", "seal.*", "rejected.*", "receipts.*"):
            manager.on_change(pattern, lambda change: self.maintenance.wake())
        telemetry.gauge("ares_otel_partition_next_run_seconds").set_function(
            lambda: self.maintenance.seconds_until_next_run
        )

    async def start(self) -> None:
        await self.maintenance.start()
        self._gauges = asyncio.create_task(self._keep_showing(), name="partition gauges")

    async def stop(self) -> None:
        """Safe without `start` and twice."""
        await self.maintenance.stop()
        task, self._gauges = self._gauges, None
        await end_task(task)

    async def _keep_showing(self) -> None:
        while True:
            # The gauges stay as they were while the database is away, or somebody has locked a partition.
            with contextlib.suppress(DatabaseUnavailable, QueryTooSlow, *DATABASE_ERRORS):
                show(await self._partitions.find(), self._telemetry)
            await asyncio.sleep(GAUGE_SECONDS)


def show(listing: PartitionListing, telemetry: Telemetry) -> None:
    """Sets the gauges about partitions."""
    for table in KEPT:
        rows = [row for row in listing.partitions if row.table_name == table]
        for state in STATES:
            count = sum(row.state == state for row in rows)
            telemetry.gauge("ares_otel_partitions").labels(table=table, state=state).set(count)
        telemetry.gauge("ares_otel_partition_bytes").labels(table=table).set(sum(row.bytes for row in rows))
        telemetry.gauge("ares_otel_partition_rows").labels(table=table).set(sum(row.rows_estimate or 0 for row in rows))
        oldest = min((row.range_start for row in rows), default=listing.now)
        age = max(0.0, (listing.now - oldest).total_seconds())
        telemetry.gauge("ares_otel_partition_oldest_seconds").labels(table=table).set(age)
    for action in _ACTIONS:
        at = next((found.at.timestamp() for found in listing.next if found.action.endswith(action)), 0.0)
        telemetry.gauge("ares_otel_partition_next_timestamp_seconds").labels(action=action).set(at)


class TelemetryMaintenanceObserver:
    """A `MaintenanceObserver` that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def dropped(self, table: str, reason: str, size: int) -> None:
        self._telemetry.counter("ares_otel_partitions_dropped").labels(table=table, reason=reason).inc()
        self._telemetry.counter("ares_otel_partitions_freed_bytes").labels(table=table).inc(size)

    def archived(self, table: str, rows: int, size: int) -> None:
        self._telemetry.counter("ares_otel_partitions_archived").labels(table=table).inc()

    def sealed(self, table: str) -> None:
        self._telemetry.counter("ares_otel_partitions_sealed").labels(table=table).inc()

    def packed(self, samples: int, duplicates: int) -> None:
        self._telemetry.counter("ares_otel_packed_samples").inc(samples)
        self._telemetry.counter("ares_otel_duplicate_samples").inc(duplicates)

    def pruned(self, what: str, rows: int) -> None:
        self._telemetry.counter("ares_otel_pruned_rows").labels(table=what).inc(rows)

    def failed(self, job: str) -> None:
        self._telemetry.counter("ares_otel_partition_job_failures").labels(job=job).inc()

    def disk_nearly_full(self, full: bool) -> None:
        self._telemetry.gauge("ares_otel_disk_nearly_full").set(full)
