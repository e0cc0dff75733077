"""What retention and sealing are asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ares_otel.storage.rows.encoded import DISTRIBUTIONS, LOGS, PACKS, SAMPLES, SPANS

SIGNAL_OF = {SPANS: "traces", LOGS: "logs", SAMPLES: "metrics", DISTRIBUTIONS: "metrics", PACKS: "metrics"}
"""Table → the signal whose setting it obeys."""
DAYS = 30.0
LEAST_FREE_BYTES = 1024**3
"""A disk with less free space counts as nearly full, whatever its size."""


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long telemetry is kept. The settings of `ares-api` named `retention.*`, `rejected.*` and `receipts.*`."""

    days: float = DAYS
    """Days that a partition is kept after its end; 0 keeps it for ever."""
    signal_days: Mapping[str, float] = field(default_factory=dict)
    """traces, logs or metrics → days, instead of `days`."""
    service_days: Mapping[str, float] = field(default_factory=dict)
    """service.name → days after which its rows are deleted one by one, earlier than the rest."""
    max_bytes: int = 0
    """Bytes on disk of all telemetry tables; 0 is no limit."""
    disk_percent: float = 95.0
    """Percent of the disk in use from which on the oldest partitions go; 100 waits until nothing but
    `LEAST_FREE_BYTES` are free."""
    archive_directory: str = ""
    """Where partitions are written to as Parquet before they are dropped; empty archives nothing."""
    rejected_days: float = DAYS
    rejected_rows: int = 100_000
    """Bounds of `ingest_rejected`."""
    receipts_hours: float = 24.0
    """Hours that receipts are kept beyond what a spool may still hold."""

    def kept(self, table: str) -> timedelta | None:
        """How long a table's partitions are kept after their end; None for ever."""
        days = self.signal_days.get(SIGNAL_OF[table], self.days)
        return timedelta(days=days) if days else None


@dataclass(frozen=True, slots=True)
class SealSettings:
    """Whether and how closed partitions get their search indexes. The settings of `ares-api` named `seal.*`."""

    enabled: bool = True
    grace_hours: float = 1.0
    """Hours after its end from which on a partition is sealed: late rows are cheaper before."""
    memory_mb: int = 64
    """maintenance_work_mem of the building session, MB."""
    rebuild: bool = True
    """Whether the B-trees that a partition was filled with are built anew."""
    pack: bool = True
    """Whether samples are packed."""
    pack_mib: int = 256
    """Size of a day of samples, with their indexes, from which on they are packed; MiB. A partition of less than a day
    needs its part of it. A smaller one stays rows, which any SQL finds by their time."""
    workers: int = 0
    """Parallel workers of an index build besides the session itself."""
    pause_seconds: float = 5.0
    """Rest between two statements."""
    timeout_minutes: float = 60.0
    """After so long a statement is given up, and tried again later."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, in bytes."""

    used: int
    free: int

    def nearly_full(self, percent: float) -> bool:
        """Whether more than `percent` of it are in use, or less than `LEAST_FREE_BYTES` are free."""
        return self.free < LEAST_FREE_BYTES or self.used > (self.used + self.free) * percent / 100
