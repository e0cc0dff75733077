"""Totals leave with their series, and what was counted on a day with the points of that day."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.pruning import Pruner
from ares_otel.storage.rows.encoded import SAMPLES

MARGIN = timedelta(days=3)
"""A partition that holds the last point of a day may be kept for so long after it."""

_ORPHANS = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM {table} t
    WHERE NOT EXISTS (SELECT FROM metric_series s WHERE s.tenant_id = t.tenant_id AND s.series_id = t.series_id)
    LIMIT $1))
"""
_DAYS = """
DELETE FROM metric_day_totals WHERE ctid = ANY (ARRAY(SELECT ctid FROM metric_day_totals WHERE day < $1 LIMIT $2))
"""
_REFUSED = """
DELETE FROM metric_delta_refused
WHERE ctid = ANY (ARRAY(SELECT ctid FROM metric_delta_refused WHERE refused_at < $1 LIMIT $2))
"""


async def prune_totals(connection: asyncpg.Connection, settings: RetentionSettings, now: datetime) -> dict[str, int]:
    """Removes what nobody needs any more; returns rows by table. A total stays as long as its series, whatever becomes
    of its points: it does not begin anew.

    Raises asyncpg.PostgresError; what was removed before stays removed.
    """
    pruner = Pruner(connection)
    deleted = {
        table: await pruner.delete(_ORPHANS.format(table=table))
        for table in ("metric_totals", "metric_day_totals", "metric_delta_refused")
    }
    kept = settings.kept(SAMPLES)
    if kept is not None:
        now = min(now, await connection.fetchval("SELECT now()"))
        deleted["metric_day_totals"] += await pruner.delete(_DAYS, (now - kept - MARGIN).date())
        deleted["metric_delta_refused"] += await pruner.delete(_REFUSED, now - kept - MARGIN)
    return deleted
