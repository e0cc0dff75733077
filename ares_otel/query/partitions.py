"""Partitions: what there is, how large and how old, and what the jobs are going to do next."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from ares_otel.query.reader import reading
from ares_otel.query.statements import load_statements
from ares_otel.storage.partitions import Partition, ahead_of
from ares_otel.storage.partitions.lengths import LENGTHS, aligned, name_for
from ares_otel.storage.partitions.plan import due_at
from ares_otel.storage.partitions.seal import grace_of
from ares_otel.storage.partitions.settings import SIGNAL_OF, RetentionSettings, SealSettings
from ares_otel.storage.rows.encoded import KEPT, PACKS, PARTITIONED

_STATEMENTS = load_statements("partitions.sql")
_BOUNDS = re.compile(r"FROM \('([^']+)'\) TO \('([^']+)'\)")
LOCK_SECONDS = 2.0
"""How long a look at sizes waits for whoever has locked a partition."""

AHEAD_OF_TIME, OPEN, CLOSED, SEALED, LEAVING, DETACHED = "ahead", "open", "closed", "sealed", "leaving", "detached"
STATES = (AHEAD_OF_TIME, OPEN, CLOSED, SEALED, LEAVING, DETACHED)
"""Yet to come; takes rows of now; its time is over; has its search indexes; about to be dropped; no partition any more,
and dropped as soon as nobody reads it."""


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition."""

    partition_name: str
    table_name: str
    signal: str
    range_start: datetime
    range_end: datetime
    state: str
    """One of `STATES`."""
    bytes: int
    """On disk, with indexes."""
    rows_estimate: int | None
    """What the server last counted; None before it did."""
    due_at: datetime | None
    """When its age makes it leave; None for never."""
    leaving_reason: str | None
    sealed_at: datetime | None
    archived_at: datetime | None
    archived_to: str | None
    archived_rows: int | None
    failures: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class NextAction:
    """What a job is going to do."""

    action: str
    """make, seal, drop or archive and drop."""
    partition_name: str
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionListing:
    """All partitions, by table and time, and for each action what comes next."""

    now: datetime
    """The server's time."""
    partitions: list[PartitionRow]
    next: list[NextAction]

    @property
    def bytes(self) -> int:
        """Of all partitions."""
        return sum(row.bytes for row in self.partitions)


class Partitions:
    """Reads partitions over a pool, with the settings that are in force."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        retention: Callable[[], RetentionSettings] = RetentionSettings,
        seal: Callable[[], SealSettings] = SealSettings,
    ) -> None:
        self._pool = pool
        self._retention = retention
        self._seal = seal

    async def find(self) -> PartitionListing:
        """All partitions. Raises DatabaseUnavailable (also while somebody holds one locked), QueryTooSlow."""
        async with reading(self._pool) as reader, reader.transaction(lock_timeout=LOCK_SECONDS):
            now = (await reader.fetch(_STATEMENTS["utc"]))[0]["now"]
            records = await reader.fetch(_STATEMENTS["partitions"], tables=list(KEPT))
        retention = self._retention()
        rows = [row for record in records if (row := _row(record, retention, now)) is not None]
        rows.sort(key=lambda row: (KEPT.index(row.table_name), row.range_start, row.partition_name))
        return PartitionListing(now, rows, next_actions(rows, retention, self._seal(), now))


def _row(record: Any, retention: RetentionSettings, now: datetime) -> PartitionRow | None:
    start, end = record["range_start"], record["range_end"]
    if record["bounds"] is not None:
        match = _BOUNDS.search(record["bounds"])
        if match is None:
            return None  # a DEFAULT partition that somebody made
        start, end = (datetime.fromisoformat(text).astimezone(UTC) for text in match.groups())
    due = due_at(Partition(record["table_name"], start, end, record["partition_name"]), retention)
    return PartitionRow(
        partition_name=record["partition_name"],
        table_name=record["table_name"],
        signal=SIGNAL_OF[record["table_name"]],
        range_start=start,
        range_end=end,
        state=_state(record, start, end, now),
        bytes=record["bytes"] or 0,
        rows_estimate=record["rows_estimate"],
        due_at=due,
        leaving_reason=record["leaving_reason"],
        sealed_at=record["sealed_at"],
        archived_at=record["archived_at"],
        archived_to=record["archived_to"],
        archived_rows=record["archived_rows"],
        failures=record["failures"],
        last_error=record["last_error"],
    )


def _state(record: Any, start: datetime, end: datetime, now: datetime) -> str:
    if not record["attached"]:
        return DETACHED
    if record["leaving_since"] is not None:
        return LEAVING
    if record["sealed_at"] is not None:
        return SEALED
    return AHEAD_OF_TIME if start > now else OPEN if end > now else CLOSED


def next_actions(
    rows: Sequence[PartitionRow], retention: RetentionSettings, seal: SealSettings, now: datetime
) -> list[NextAction]:
    """For each action the partition that is the next one to have it, soonest first; what could be done already stands
    at the current time."""
    actions = [_next_made(rows, now)]
    sealable = [row for row in rows if row.state in (OPEN, CLOSED) and row.table_name != PACKS]
    if seal.enabled and sealable:
        row = min(sealable, key=lambda row: (_sealable(row, seal), row.table_name))
        actions.append(NextAction("seal", row.partition_name, max(now, _sealable(row, seal))))
    drop = "archive and drop" if retention.archive_directory else "drop"
    going = [row for row in rows if row.state in (LEAVING, DETACHED)]
    dated = [(row.due_at, row) for row in rows if row.due_at is not None and row.range_end <= row.due_at]
    if going:
        row = min(going, key=lambda row: (row.range_end, row.table_name))
        actions.append(NextAction(drop, row.partition_name, now, row.leaving_reason))
    elif dated:
        due, row = min(dated, key=lambda pair: (pair[0], pair[1].table_name))
        actions.append(NextAction(drop, row.partition_name, max(now, due), "age"))
    return sorted(actions, key=lambda action: action.at)


def _next_made(rows: Sequence[PartitionRow], now: datetime) -> NextAction:
    """The partition of spans that is made when the current one's time is over, as long as those ahead are."""
    ahead = [row for row in rows if row.table_name == PARTITIONED[0] and row.range_start > now]
    last = max(ahead, key=lambda row: row.range_end, default=None)
    length = LENGTHS[0] if last is None else last.range_end - last.range_start
    length = length if length in LENGTHS else LENGTHS[0]
    at = aligned(now, length) + length
    start = at + ahead_of(length) if last is None else last.range_end
    return NextAction("make", name_for(PARTITIONED[0], start, length), at)


def _sealable(row: PartitionRow, settings: SealSettings) -> datetime:
    partition = Partition(row.table_name, row.range_start, row.range_end, row.partition_name)
    return row.range_end + grace_of(partition, settings)
