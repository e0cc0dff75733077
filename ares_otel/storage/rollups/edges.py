"""Finds the edges of the service map: server and consumer spans whose parent is a span of another service.

A minute is looked at as a whole, some seconds after its end, and again when more of its spans came; its edges are
replaced then. So spans that come late, or before their parents, count once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import asyncpg

LAG = timedelta(seconds=15)
"""After the end of a minute, before it is looked at: batches of spans come some seconds late."""
AGAIN = timedelta(seconds=60)
"""A minute is not looked at more often than this."""
MOST_CHILDREN = 20_000
"""Called spans of a minute that are looked at, about. Of more, a part of each ten seconds tells about all of them."""
PARENT_AGE = timedelta(hours=1)
"""A parent may begin so long before the minute."""
MOST_SPANS = 5_000
"""Spans of one trace that are looked at for parents: somebody's constant trace id may own the whole table."""

_DUE = """
SELECT minute, changed_at FROM service_edge_minutes
WHERE changed_at IS NOT NULL AND minute < now() - interval '1 minute' - $1::interval
  AND (computed_at IS NULL OR computed_at < now() - $2::interval)
ORDER BY minute DESC LIMIT $3
"""
_WAITING = """
SELECT count(*) FROM service_edge_minutes
WHERE changed_at IS NOT NULL AND minute < now() - interval '1 minute' - $1::interval
  AND (computed_at IS NULL OR computed_at < now() - $2::interval)
"""
_CHILDREN = """
SELECT coalesce(sum(calls), 0)::bigint AS calls, array_agg(DISTINCT service_name) AS services
FROM span_rollups WHERE minutes = 1 AND minute = $1 AND kind IN ('server', 'consumer')
"""
# Written out, and not as a join with the slices, so that the planner knows how short they are.
_SLICE = """
    SELECT tenant_id, trace_id, parent_span_id, service_name, status, duration_ns
    FROM service_spans
    WHERE service_name = ANY ($2::text[]) AND kind IN ('server', 'consumer')
      AND start_time >= $1::timestamptz + interval '{seconds} seconds'
      AND start_time < $1::timestamptz + interval '{seconds} seconds' + interval '10 seconds' / $3::integer
"""
_SLICES = "    UNION ALL".join(_SLICE.format(seconds=seconds) for seconds in range(0, 60, 10))
_FIND = f"""
WITH child AS MATERIALIZED ({_SLICES}),
stands_for AS MATERIALIZED (
    SELECT c.tenant_id, c.service_name, CASE WHEN $3::integer = 1 THEN 1 ELSE greatest(t.calls / c.seen, 1) END AS calls
    FROM (SELECT tenant_id, service_name, count(*) AS seen FROM child GROUP BY tenant_id, service_name) c
    JOIN (
        SELECT tenant_id, service_name, sum(calls) AS calls FROM span_rollups
        WHERE minutes = 1 AND minute = $1 AND kind IN ('server', 'consumer')
        GROUP BY tenant_id, service_name
    ) t USING (tenant_id, service_name)
),
trace AS MATERIALIZED (SELECT DISTINCT tenant_id, trace_id FROM child WHERE parent_span_id IS NOT NULL),
parent AS MATERIALIZED (
    SELECT DISTINCT t.tenant_id, t.trace_id, p.span_id, p.service_name
    FROM trace t
    CROSS JOIN LATERAL (
        SELECT s.span_id, s.service_name
        FROM service_spans s
        WHERE s.trace_id = t.trace_id AND s.tenant_id = t.tenant_id
          AND s.start_time >= $1 - $4::interval AND s.start_time < $1 + interval '2 minutes'
        LIMIT $5
    ) p
),
edge AS MATERIALIZED (
    SELECT c.tenant_id, p.service_name AS parent_service, c.service_name AS child_service, count(*) AS calls,
           count(*) FILTER (WHERE c.status = 'error') AS errors, sum(c.duration_ns) AS duration_ns_sum
    FROM child c
    JOIN parent p ON p.tenant_id = c.tenant_id AND p.trace_id = c.trace_id AND p.span_id = c.parent_span_id
    WHERE p.service_name <> c.service_name
    GROUP BY c.tenant_id, p.service_name, c.service_name
)
SELECT e.tenant_id, e.parent_service, e.child_service, round(e.calls * f.calls)::bigint AS calls,
       round(e.errors * f.calls)::bigint AS errors, e.duration_ns_sum * f.calls AS duration_ns_sum
FROM edge e
JOIN stands_for f ON f.tenant_id = e.tenant_id AND f.service_name = e.child_service
"""  # noqa: S608 - nothing in it comes from outside
_REPLACE = """
WITH gone AS (DELETE FROM service_edges WHERE minute = $1 AND minutes = 1),
done AS (
    UPDATE service_edge_minutes
    SET computed_at = now(), changed_at = nullif(changed_at, $2)
    WHERE minute = $1
)
SELECT 1
"""
_PUT_OFF = "UPDATE service_edge_minutes SET computed_at = now() WHERE minute = $1"
_WRITE = """
INSERT INTO service_edges (minute, tenant_id, parent_service, child_service, calls, errors, duration_ns_sum)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def due_minutes(
    connection: asyncpg.Connection, most: int, lag: timedelta = LAG
) -> list[tuple[datetime, datetime]]:
    """The minutes whose edges have to be found now, the latest first, each with when it last changed."""
    return [(row["minute"], row["changed_at"]) for row in await connection.fetch(_DUE, lag, AGAIN, most)]


async def put_off(connection: asyncpg.Connection, minute: datetime) -> None:
    """Looks at a minute again later: finding its edges took too long, and others wait."""
    await connection.execute(_PUT_OFF, minute)


async def waiting_minutes(connection: asyncpg.Connection, lag: timedelta = LAG) -> int:
    """How many minutes wait for that."""
    count: int = await connection.fetchval(_WAITING, lag, AGAIN)
    return count


async def find_edges(
    connection: asyncpg.Connection, minute: datetime, changed_at: datetime, *, most: int = MOST_CHILDREN
) -> int:
    """Replaces the edges of a minute, inside a transaction; returns the number of edges.

    Args:
        most: called spans that are looked at.
    """
    children = await connection.fetchrow(_CHILDREN, minute)
    found: list[Any] = []
    if children["calls"]:
        step = sampling(children["calls"], most)
        found = await connection.fetch(_FIND, minute, children["services"], step, PARENT_AGE, MOST_SPANS)
    await connection.execute(_REPLACE, minute, changed_at)
    await connection.executemany(_WRITE, [(minute, *row.values()) for row in found])
    return len(found)


def sampling(children: int, most: int) -> int:
    """Of how many spans one is looked at."""
    return max(1, -(-children // most))
