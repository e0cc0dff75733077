"""Roll-ups in tests: one round of the job, and what they say beside what the rows say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from ares_otel.storage.rollups.job import Rollups

EXACT = """
SELECT date_trunc('minute', start_time, 'UTC') AS minute, tenant_id, service_name, left(operation_name, 255), kind,
       count(*) AS calls, count(*) FILTER (WHERE status = 'error') AS errors, sum(duration_ns) AS duration_ns_sum,
       max(duration_ns) AS duration_ns_max
FROM service_spans GROUP BY 1, 2, 3, 4, 5
"""
COUNTED = """
SELECT minute, tenant_id, service_name, operation_name, kind, calls, errors, duration_ns_sum, duration_ns_max
FROM span_rollups
"""


async def run_once(connect: Any, **options: Any) -> bool:
    """One whole round; the edges of a minute are found as soon as it is over.

    A round ends early where a minute took so long that others have to come first, before the next interval: on a busy
    machine a quarter of a second is enough. There is none after this round, so it does not.
    """
    return await Rollups(connect, **{"edge_lag": timedelta(0), "interval": lambda: 3600.0, **options}).run()


async def differences(sql: asyncpg.Connection) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """What the spans say and the merged minutes do not, and the other way round."""
    exact = {tuple(row.values()) for row in await sql.fetch(EXACT)}
    counted = {tuple(row.values()) for row in await sql.fetch(COUNTED)}
    return exact - counted, counted - exact


async def no_job_works(sql: asyncpg.Connection) -> bool:
    """Whether nobody holds the job's lock: a server notices that a connection is gone when it next looks."""
    held = await sql.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
        "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database())"
    )
    return not held
