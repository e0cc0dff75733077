"""Which partitions have to go, decided from what is known: no SQL here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ares_otel.storage.partitions.catalog import Partition
from ares_otel.storage.partitions.settings import RetentionSettings

AGE, BYTES, DISK, COMMAND = "age", "bytes", "disk", "command"
"""Why a partition leaves."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A partition that has to go, and why: one of the words above."""

    partition: Partition
    reason: str


def due_at(partition: Partition, settings: RetentionSettings) -> datetime | None:
    """When its age makes a partition leave; None for never."""
    kept = settings.kept(partition.table)
    try:
        return None if kept is None else partition.end + kept
    except OverflowError:
        return None


def closed(partitions: Iterable[Partition], now: datetime) -> list[Partition]:
    """The partitions whose range has ended, the oldest first, over all tables."""
    return sorted((p for p in partitions if p.end <= now), key=lambda p: (p.end, p.start, p.table))


def plan_removals(
    partitions: Sequence[Partition], sizes: Mapping[str, int], settings: RetentionSettings, now: datetime
) -> list[Removal]:
    """What has to go by age and by bytes on disk, the oldest first. Never a partition that is open or yet to come.

    Args:
        sizes: bytes by partition name.
        now: the current time; the earlier one where two clocks differ.
    """
    removals = []
    total = sum(sizes.get(p.name, 0) for p in partitions)
    for partition in closed(partitions, now):
        due = due_at(partition, settings)
        if due is not None and due <= now:
            removals.append(Removal(partition, AGE))
        elif settings.max_bytes and total > settings.max_bytes:
            removals.append(Removal(partition, BYTES))
        else:
            continue
        total -= sizes.get(partition.name, 0)
    return removals
