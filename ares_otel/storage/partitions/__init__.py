"""Time partitions of the telemetry tables: made ahead of time, sealed when they close, archived, dropped."""

from ares_otel.storage.partitions.catalog import Partition, list_partitions, quoted, to_datetime, to_ns
from ares_otel.storage.partitions.ensure import ensure_partitions
from ares_otel.storage.partitions.lengths import AHEAD, PAST, ahead_of
from ares_otel.storage.partitions.windows import narrowed, read_windows

__all__ = [
    "AHEAD",
    "PAST",
    "Partition",
    "ahead_of",
    "ensure_partitions",
    "list_partitions",
    "narrowed",
    "quoted",
    "read_windows",
    "to_datetime",
    "to_ns",
]
