"""Services whose telemetry is kept shorter than the rest: their rows are deleted one batch after the other, out of
partitions that stay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions.catalog import Partition, has_service_name, quoted, time_column
from ares_otel.storage.pinned.keeping import pinned_ids
from ares_otel.storage.pruning import PACE, Pace, Pruner
from ares_otel.storage.rows.encoded import KEPT, PACKS

SERIES_AT_ONCE = 500


class ServiceRetention:
    """Remembers which partitions hold nothing of a service any more, so that a run costs little when nothing is due."""

    def __init__(self, pace: Pace = PACE) -> None:
        self._pace = pace
        self._clean: set[tuple[str, str]] = set()
        self._day: object = None

    async def run(
        self, connection: asyncpg.Connection, partitions: Sequence[Partition], service: str, days: float, now: datetime
    ) -> dict[str, int]:
        """Deletes rows of one service that are older than `days`, but for those of pinned traces; rows by table.

        Raises asyncpg.PostgresError; what was deleted before stays deleted.
        """
        if self._day != now.date():  # late rows may have come: everything is looked at once a day
            self._day = now.date()
            self._clean.clear()
        pruner = Pruner(connection, self._pace)
        before = now - timedelta(days=days)
        pinned = await pinned_ids(connection)
        deleted: dict[str, int] = {}
        for table in KEPT:
            for partition in partitions:
                if partition.table != table or partition.start >= before or (service, partition.name) in self._clean:
                    continue
                count = await self._empty(pruner, connection, partition, service[:255], before, pinned)
                deleted[table] = deleted.get(table, 0) + count
                if pruner.enough:
                    return deleted
                if partition.end <= before:
                    self._clean.add((service, partition.name))
        return deleted

    async def _empty(
        self,
        pruner: Pruner,
        connection: asyncpg.Connection,
        partition: Partition,
        service: str,
        before: datetime,
        pinned: list[UUID],
    ) -> int:
        name, time = quoted(partition.name), time_column(partition.table)
        if has_service_name(partition.table):
            return await pruner.delete(
                f"DELETE FROM {name} WHERE ctid = ANY (ARRAY("  # noqa: S608 - quoted
                f"SELECT ctid FROM {name} WHERE service_name = $1 AND {time} < $2 "
                "AND (trace_id = ANY ($3)) IS NOT TRUE LIMIT $4))",
                service,
                before,
                pinned,
            )
        if partition.table == PACKS:
            time = "last_timestamp"  # a pack goes as a whole
        deleted = 0
        after: tuple[int, UUID] | None = None
        while not pruner.enough and (series := await _series(connection, service, after)):
            after = (series[-1]["tenant_id"], series[-1]["series_id"])
            deleted += await pruner.delete(
                f"DELETE FROM {name} WHERE ctid = ANY (ARRAY("  # noqa: S608 - quoted
                f"SELECT ctid FROM {name} WHERE series_id = ANY ($1) AND {time} < $2 LIMIT $3))",
                [row["series_id"] for row in series],
                before,
            )
        return deleted


async def _series(connection: asyncpg.Connection, service: str, after: tuple[int, UUID] | None) -> list[asyncpg.Record]:
    beyond = "" if after is None else "AND (tenant_id, series_id) > ($3, $4)"
    return list(
        await connection.fetch(
            f"SELECT tenant_id, series_id FROM metric_series WHERE service_name = $1 {beyond} "  # noqa: S608
            "ORDER BY tenant_id, series_id LIMIT $2",
            service,
            SERIES_AT_ONCE,
            *(after or ()),
        )
    )
