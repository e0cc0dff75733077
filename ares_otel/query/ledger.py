"""What receipts say was stored, against what the tables hold: the accounting equation in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.model.signal import METRICS, SIGNALS
from ares_otel.query.statements import Statement, load_statements
from ares_otel.storage.partitions import list_partitions
from ares_otel.storage.rows.encoded import DISTRIBUTIONS, KEPT, LOGS, PACKS, SAMPLES, SPANS

_STATEMENTS = load_statements("ledger.sql")
_ROWS = {"traces": _STATEMENTS["traces"], "logs": _STATEMENTS["logs"], "metrics": _STATEMENTS["metrics"]}
_TABLES = {"traces": (SPANS,), "logs": (LOGS,), "metrics": (SAMPLES, DISTRIBUTIONS, PACKS)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal, from a receive time on."""

    signal: str
    since: datetime
    """Rows and receipts received at or after this time are compared."""
    requests: int
    """Receipts."""
    accepted: int
    """Items that the receipts say are stored."""
    stored: int
    """Rows."""
    by_sql: int
    """Rows that nobody sent: they have no receipt and are not compared."""

    @property
    def difference(self) -> int:
        """Rows more (or, below 0, fewer) than the receipts say."""
        return self.stored - self.accepted


async def read_ledger(connection: asyncpg.Connection, *, since: datetime | None = None) -> list[Entry]:
    """The comparison for each signal, all of it of one moment, while senders send.

    It goes back as far as receipts do (older ones are pruned, by `receipts.hours`), and to where rows were last
    dropped, for late rows may have been among them; `since` makes it shorter. Every row of that time is read.
    Without any receipt there is nothing to compare, and no entry.

    Raises:
        asyncpg.PostgresError, OSError: the database could not answer.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        oldest = await _one(connection, _STATEMENTS["oldest"])
        if oldest is None:
            return []
        floors = await _floors(connection)
        entries = []
        for signal in SIGNALS:
            start = max([oldest["received_at"], *(floors[table] for table in _TABLES[signal] if table in floors)])
            start = start if since is None else max(start, since)
            if signal == METRICS.name:
                start = await _whole_second(connection, start)
            receipts = await _one(connection, _STATEMENTS["receipts"], signal=signal, since=start)
            rows = await _one(connection, _ROWS[signal], since=start)
            entries.append(Entry(signal, start, receipts["requests"], receipts["items"], rows["items"], rows["by_sql"]))
    return entries


def ledger_imbalances(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each signal whose rows are not those of its receipts."""
    found = []
    for entry in entries:
        if entry.difference < 0:
            found.append(
                f"{entry.signal} in the database: receipts say that {entry.accepted} items are stored, the tables have "
                f"{entry.stored}: {-entry.difference} are missing."
            )
        elif entry.difference > 0:
            found.append(
                f"{entry.signal} in the database: the tables have {entry.stored} items, receipts only say "
                f"{entry.accepted}: {entry.difference} were stored twice, or without a receipt."
            )
    return found


async def _floors(connection: asyncpg.Connection) -> dict[str, datetime]:
    """For each table the receive time from which on no row can have been dropped with a partition."""
    floors: dict[str, datetime] = {}
    for partition in await list_partitions(connection, KEPT):
        floors[partition.table] = min(partition.start, floors.get(partition.table, partition.start))
    for row in await connection.fetch(_STATEMENTS["floors"].bind({})[0]):
        table = row["table_name"]
        floors[table] = max(row["settled_at"], floors.get(table, row["settled_at"]))
    return floors


async def _whole_second(connection: asyncpg.Connection, start: datetime) -> datetime:
    """The time, or the next second that begins, where samples that were received since then are packed: of those only
    the second of the receipt is known."""
    last = (await _one(connection, _STATEMENTS["packed_since"]))["last_received_at"]
    if last is None or last < start or not start.microsecond:
        return start
    return start.replace(microsecond=0) + timedelta(seconds=1)


async def _one(connection: asyncpg.Connection, statement: Statement, **values: object) -> Any:
    text, arguments = statement.bind(values)
    return await connection.fetchrow(text, *arguments)
