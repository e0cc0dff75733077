"""Deletes rows of ordinary tables that nobody needs any more: small batches with rests between, nobody waits long.

What a run does not get done within its time is left to the next run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.model.clock import Clock
from ares_otel.storage.definitions import ID_COLUMN
from ares_otel.storage.partitions.catalog import to_datetime
from ares_otel.storage.partitions.lengths import AHEAD, DAY
from ares_otel.storage.pinned.keeping import still_referred
from ares_otel.storage.rejected_retry import RETRY_KEY
from ares_otel.storage.rows.encoded import DEFINITIONS, SERIES
from ares_otel.storage.transaction import BEGIN

FORGOTTEN = timedelta(days=30)
"""A spool that was not seen for so long does not hold receipts back any more."""
DEFINITION_MARGIN = (AHEAD + 2) * DAY
"""`last_seen` of a definition in use may be a day old, and its rows may lie in the partitions ahead."""

# A rejected item that is tried again has a receipt as old as itself, until it is removed from its table.
_RECEIPTS = f"""
DELETE FROM ingest_receipts WHERE key = ANY (ARRAY(
    SELECT key FROM ingest_receipts
    WHERE received_at < $1 AND stored_at < $2
      AND key NOT IN (SELECT {RETRY_KEY} FROM ingest_rejected WHERE received_at < $1)
    ORDER BY received_at LIMIT $3))
"""  # noqa: S608 - nothing in it comes from outside
_REJECTED_BY_AGE = """
DELETE FROM ingest_rejected WHERE id = ANY (ARRAY(
    SELECT id FROM ingest_rejected WHERE rejected_at < $1 ORDER BY rejected_at LIMIT $2))
"""
_REJECTED_BY_NUMBER = """
DELETE FROM ingest_rejected WHERE id = ANY (ARRAY(
    SELECT id FROM ingest_rejected WHERE id <= $1 ORDER BY id LIMIT $2))
"""

log = logging.getLogger("ares_otel.storage.maintenance")


@dataclass(frozen=True, slots=True)
class Pace:
    """How gently rows are deleted."""

    batch: int = 2_000
    """Rows of one transaction."""
    pause: float = 0.05
    """Seconds of rest between two."""
    seconds: float = 20.0
    """After so long it is enough for one run."""


PACE = Pace()


class Pruner:
    """Deletes by one connection, in short transactions of bounded waits."""

    def __init__(self, connection: asyncpg.Connection, pace: Pace = PACE) -> None:
        self._connection = connection
        self.pace = pace
        self._until = asyncio.get_running_loop().time() + pace.seconds

    @property
    def enough(self) -> bool:
        """Whether the time of this run is used up."""
        return asyncio.get_running_loop().time() >= self._until

    async def delete(self, statement: str, *arguments: Any) -> int:
        """Runs a DELETE of at most so many rows as its last parameter says, until it finds fewer. Returns the number
        of rows. Raises asyncpg.PostgresError; what was deleted before stays deleted."""
        deleted = 0
        while True:
            count = await self.execute(statement, *arguments, self.pace.batch)
            deleted += count
            if count < self.pace.batch or self.enough:
                return deleted
            await asyncio.sleep(self.pace.pause)

    async def execute(self, statement: str, *arguments: Any) -> int:
        """One statement in a transaction of its own; the number of rows it deleted."""
        try:
            await self._connection.execute(BEGIN)
            status: str = await self._connection.execute(statement, *arguments)
            await self._connection.execute("COMMIT")
        except asyncpg.PostgresError:
            await self._connection.execute("ROLLBACK")
            raise
        return int(status.rpartition(" ")[2])


async def prune_receipts(
    connection: asyncpg.Connection,
    clock: Clock,
    window: timedelta,
    *,
    pace: Pace = PACE,
    complain: Callable[[str, str], None] = lambda kind, message: log.warning("%s", message),
) -> int:
    """Removes receipts of requests that no sender and no spool can repeat any more; returns how many.

    That is what was received before `least(now, what any spool may still hold) - window`. A spool may hold what is as
    old as its oldest request, and what came since it was last seen. The receipt also has to be that old by the
    database's clock: the one that said when the request was received may have been slow.

    Args:
        window: how long a sender may repeat a request.
        complain: told (kind, sentence) about a spool that does not count any more.

    Raises asyncpg.PostgresError; what was removed before stays removed.
    """
    there: datetime = await connection.fetchval("SELECT now()")
    now = min(there, to_datetime(clock.time_ns()))
    horizon = now
    for spool in await connection.fetch("SELECT spool_id, place, seen_at, oldest_at FROM ingest_spools"):
        if spool["seen_at"] < now - FORGOTTEN:
            complain(
                f"spool {spool['spool_id']}",
                f"The spool {spool['place']} was not seen since {spool['seen_at']:%Y-%m-%d}; receipts are no longer "
                "kept for it. Start the Ares that owns it, or delete its row in ingest_spools.",
            )
            continue
        horizon = min(horizon, spool["seen_at"], spool["oldest_at"] or spool["seen_at"])
    return await Pruner(connection, pace).delete(_RECEIPTS, horizon - window, there - window)


async def prune_rejected(
    connection: asyncpg.Connection, now: datetime, *, days: float, rows: int, pace: Pace = PACE
) -> int:
    """Removes rejected items older than `days` (0 keeps them), and the oldest beyond `rows`; returns how many.

    Raises asyncpg.PostgresError; what was removed before stays removed.
    """
    pruner = Pruner(connection, pace)
    deleted = await pruner.delete(_REJECTED_BY_AGE, now - timedelta(days=days)) if days else 0
    last = await connection.fetchval("SELECT id FROM ingest_rejected ORDER BY id DESC OFFSET $1 LIMIT 1", rows)
    return deleted + (0 if last is None else await pruner.delete(_REJECTED_BY_NUMBER, last))


class DefinitionWalk:
    """Removes resources, scopes and series that no row of a kept partition or of a pinned trace can refer to.

    Walks each table once by its key, over several runs when it is large: `last_seen` has no index, which every new day
    would have to write.
    """

    def __init__(self, pace: Pace = PACE) -> None:
        self._pace = pace
        self._oldest: datetime | None = None
        self._tables: list[str] = []
        self._last: tuple[object, object] | None = None

    async def run(self, connection: asyncpg.Connection, oldest_kept: datetime) -> dict[str, int]:
        """Goes on with the walk, or begins a new one when the oldest partition is another one. Returns rows by table.

        Args:
            oldest_kept: where the oldest partition begins.

        Raises asyncpg.PostgresError; what was removed before stays removed.
        """
        if oldest_kept != self._oldest:
            self._oldest, self._tables, self._last = oldest_kept, list(DEFINITIONS), None
        pruner = Pruner(connection, self._pace)
        deleted: dict[str, int] = {}
        while self._tables and not pruner.enough:
            table = self._tables[0]
            count = await self._step(connection, pruner, table, oldest_kept - DEFINITION_MARGIN)
            deleted[table] = deleted.get(table, 0) + count
        return deleted

    async def _step(self, connection: asyncpg.Connection, pruner: Pruner, table: str, before: datetime) -> int:
        """The next definitions of the table; the number of those that were removed."""
        column = ID_COLUMN[table]
        beyond = "" if self._last is None else f"WHERE (tenant_id, {column}) > ($2, $3)"
        rows = await connection.fetch(
            f"SELECT tenant_id, {column} AS id, last_seen FROM {table} {beyond} "  # noqa: S608 - our own names
            f"ORDER BY tenant_id, {column} LIMIT $1",
            self._pace.batch,
            *(self._last or ()),
        )
        if not rows:
            self._tables.pop(0)
            self._last = None
            return 0
        old = [row for row in rows if row["last_seen"] < before]
        if old and table != SERIES:
            kept = await still_referred(connection, column, [row["id"] for row in old])
            old = [row for row in old if row["id"] not in kept]
        deleted = 0
        if old:
            deleted = await pruner.execute(
                f"DELETE FROM {table} d USING unnest($1::integer[], $2::uuid[]) AS old (tenant_id, id) "  # noqa: S608
                f"WHERE d.tenant_id = old.tenant_id AND d.{column} = old.id AND d.last_seen < $3",
                [row["tenant_id"] for row in old],
                [row["id"] for row in old],
                before,
            )
        self._last = (rows[-1]["tenant_id"], rows[-1]["id"])
        await asyncio.sleep(self._pace.pause)
        return deleted
