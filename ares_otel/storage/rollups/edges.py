"""Finds the edges of the service map: calls and messages between services, and calls that nobody answered.

A minute is looked at as a whole, some seconds after its end, and again when more of its spans came; its edges are
replaced then. It remembers the parents that were not there (`missing`): when spans come to another minute, those are
looked for among them, and where one is found, the minute is looked at again. So a long call, whose span comes when it
ends, minutes after its children, counts too, and all spans count once, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import asyncpg

from ares_otel.storage.rollups.edge_search import FIND

LAG = timedelta(seconds=15)
"""After the end of a minute, before it is looked at: batches of spans come some seconds late."""
AGAIN = timedelta(seconds=60)
"""A minute is not looked at more often than this."""
MOST_CHILDREN = 20_000
"""Called spans of a minute that are looked at, about, and calling ones. Of more, a part of each ten seconds tells about
all of them."""
PARENT_AGE = timedelta(hours=1)
"""A parent may begin so long before the minute, and an answer so long after it."""
MOST_SPANS = 5_000
"""Spans of one trace that are looked at for parents: somebody's constant trace id may own the whole table."""

_DUE = """
SELECT minute, changed_at FROM service_edge_minutes
WHERE changed_at IS NOT NULL AND minute < now() - interval '1 minute' - $1::interval
  AND minute >= date_trunc('hour', now() - interval '2 days', 'UTC')
  AND (computed_at IS NULL OR computed_at < now() - $2::interval)
ORDER BY minute DESC LIMIT $3
"""
_WAITING = """
SELECT count(*) FROM service_edge_minutes
WHERE changed_at IS NOT NULL AND minute < now() - interval '1 minute' - $1::interval
  AND minute >= date_trunc('hour', now() - interval '2 days', 'UTC')
  AND (computed_at IS NULL OR computed_at < now() - $2::interval)
"""
_SPANS = """
SELECT coalesce(sum(calls) FILTER (WHERE called), 0)::bigint AS called,
       coalesce(sum(calls) FILTER (WHERE NOT called), 0)::bigint AS calling,
       coalesce(array_agg(DISTINCT service_name) FILTER (WHERE called), '{}') AS called_services,
       coalesce(array_agg(DISTINCT service_name) FILTER (WHERE NOT called), '{}') AS calling_services,
       greatest($1 + interval '2 minutes', least(now(), $1 + $2::interval)) AS until
FROM (
    SELECT calls, service_name, kind IN ('server', 'consumer') AS called
    FROM span_rollups WHERE minutes = 1 AND minute = $1 AND kind IN ('server', 'consumer', 'client', 'producer')
) s
"""
# The planner does not know how many rows the parts of the statement give: where it expects one, it would compare
# thousands with thousands, so only hashes are left to it. A plan for any minute is one that reads all of them. And to
# compile so long a statement takes longer than it does.
_PLAN = "; ".join(
    f"SET LOCAL {setting}"
    for setting in (
        "enable_nestloop = off",
        "enable_mergejoin = off",
        "plan_cache_mode = force_custom_plan",
        "jit = off",
    )
)
_CLEAR = """
WITH edges AS (DELETE FROM service_edges WHERE minute = $1 AND minutes = 1),
nodes AS (DELETE FROM service_nodes WHERE minute = $1 AND minutes = 1)
UPDATE service_edge_minutes
SET computed_at = now(), changed_at = nullif(changed_at, $2), waiting = 0, missing = '{}', unanswered = '{}'
WHERE minute = $1
"""
_NODES = """
INSERT INTO service_nodes (minute, tenant_id, service_name, calls, errors, duration_ns_sum)
SELECT minute, tenant_id, service_name, sum(calls), sum(errors), sum(duration_ns_sum)
FROM span_rollups WHERE minutes = 1 AND minute = $1 AND kind IN ('server', 'consumer')
GROUP BY minute, tenant_id, service_name
"""
_PUT_OFF = "UPDATE service_edge_minutes SET computed_at = now() WHERE minute = $1"
_CHANGED = """
INSERT INTO service_edge_minutes (minute, changed_at)
SELECT DISTINCT minute, now() FROM unnest($1::timestamptz[]) AS m (minute)
WHERE minute > now() - $2::interval AND minute < now() + interval '7 days'
ON CONFLICT (minute) DO UPDATE SET changed_at = now()
"""
_ARRIVED = """
WITH awaited AS MATERIALIZED (
    SELECT a.minute FROM (SELECT DISTINCT minute FROM unnest($1::timestamptz[]) AS a (minute)) a
    WHERE a.minute > now() - $3::interval AND EXISTS (
        SELECT FROM service_edge_minutes m
        WHERE m.minute BETWEEN a.minute - interval '1 minute' AND a.minute + $4::interval AND m.minute <> a.minute
          AND m.waiting > 0
    )
)
INSERT INTO service_edge_arrivals (minute, service_name)
SELECT a.minute, a.service_name
FROM unnest($1::timestamptz[], $2::text[]) AS a (minute, service_name)
JOIN awaited w ON w.minute = a.minute
ON CONFLICT DO NOTHING
"""
_ARRIVALS = "DELETE FROM service_edge_arrivals WHERE minute = $1 RETURNING service_name"
_AWAITED = """
WITH waiting AS MATERIALIZED (
    SELECT m.minute, k.span_id
    FROM service_edge_minutes m CROSS JOIN LATERAL unnest(m.missing) k (span_id)
    WHERE m.minute BETWEEN $1::timestamptz - interval '1 minute' AND $1 + $3::interval AND m.minute <> $1
      AND m.waiting > 0
)
UPDATE service_edge_minutes SET changed_at = now()
WHERE minute IN (
    SELECT w.minute FROM service_spans s
    JOIN waiting w ON w.span_id = s.span_id
    WHERE s.service_name = ANY ($2::text[]) AND s.start_time >= $1 AND s.start_time < $1 + interval '1 minute'
)
"""


async def note_arrivals(
    connection: asyncpg.Connection, arrivals: Iterable[tuple[datetime, str]], age: timedelta
) -> None:
    """Notes, in the transaction that merges them, where spans came: their minutes are looked at (again), and so are
    others that wait for a parent among them.

    Args:
        arrivals: minute and service of spans.
        age: how old a minute may be whose edges are found again.
    """
    minutes, services = zip(*sorted(set(arrivals)), strict=True)
    await connection.execute(_CHANGED, minutes, age)
    await connection.execute(_ARRIVED, minutes, services, age, PARENT_AGE)


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
        most: called spans that are looked at, and calling ones.
    """
    spans = await connection.fetchrow(_SPANS, minute, PARENT_AGE)
    await connection.execute(_CLEAR, minute, changed_at)
    await connection.execute(_NODES, minute)
    found = 0
    if spans["called"] or spans["calling"]:
        steps = sampling(spans["called"], most), sampling(spans["calling"], most)
        arguments = (spans["called_services"], steps[0], PARENT_AGE, MOST_SPANS, spans["calling_services"], steps[1])
        await connection.execute(_PLAN)
        status = await connection.execute(FIND, minute, *arguments, spans["until"])
        found = int(status.split()[-1])
    arrived = [row["service_name"] for row in await connection.fetch(_ARRIVALS, minute)]
    if arrived:
        await connection.execute(_AWAITED, minute, arrived, PARENT_AGE)
    return found


def sampling(children: int, most: int) -> int:
    """Of how many spans one is looked at."""
    return max(1, -(-children // most))
