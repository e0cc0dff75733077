"""The statement that finds the edges of a minute, and what the minute waits for.

Of each span that is called (server, consumer) the parent is looked for, and of a consumer what its links name; of each
that calls (client, producer) whether anybody answered it.
"""

from __future__ import annotations

from ares_otel.storage.rollups.peers import DESTINATION, PEER_NAME, PEER_TYPE, RECEIVES

MOST_LINKS = 100
"""Links of a consumer span that are followed."""
MOST_MESSAGES = 50_000
"""Links that are followed of all consumer spans together."""
MOST_LEAVES = 100
"""Databases, queues and others that one service calls in a minute and that are told apart; of queues between two
services too. The rest are one, `OTHERS`."""
OTHERS = "(others)"

# Written out, and not as a join with the slices, so that the planner knows how short they are.
_SLICE = """
    SELECT tenant_id, trace_id, span_id, parent_span_id, service_name, {columns}
    FROM service_spans
    WHERE service_name = ANY (${services}::text[]) AND kind IN ({kinds})
      AND start_time >= $1::timestamptz + interval '{seconds} seconds'
      AND start_time < $1::timestamptz + interval '{seconds} seconds' + interval '10 seconds' / ${step}::integer
"""


def _slices(columns: str, kinds: str, services: int, step: int) -> str:
    return "    UNION ALL".join(
        _SLICE.format(columns=columns, kinds=kinds, services=services, step=step, seconds=seconds)
        for seconds in range(0, 60, 10)
    )


_CHILD_COLUMNS = f"""kind, status, duration_ns, resource_id,
        CASE WHEN kind = 'consumer' THEN {DESTINATION} ELSE '' END AS destination,
        CASE WHEN kind = 'consumer' THEN {RECEIVES} ELSE false END AS receives,
        CASE WHEN kind = 'consumer' AND links <> '[]' THEN links END AS links"""
_CALLER_COLUMNS = f"status, duration_ns, {PEER_TYPE} AS peer_type, {PEER_NAME} AS peer_name"
# Two copies of a span are one call.
_ONCE = "SELECT DISTINCT ON (tenant_id, trace_id, span_id, service_name) * FROM ({}) s"
# Of how many spans one stands, where a part of the minute is looked at.
_STANDS_FOR = """
    SELECT tenant_id, service_name, CASE WHEN {step}::integer = 1 THEN 1 ELSE greatest(t.calls / c.seen, 1) END AS calls
    FROM (SELECT tenant_id, service_name, count(*) AS seen FROM {spans} GROUP BY tenant_id, service_name) c
    JOIN (
        SELECT tenant_id, service_name, sum(calls) AS calls FROM span_rollups
        WHERE minutes = 1 AND minute = $1 AND kind IN ({kinds})
        GROUP BY tenant_id, service_name
    ) t USING (tenant_id, service_name)
"""
_CALLED = "'server', 'consumer'"
_CALLING = "'client', 'producer'"

FIND = f"""
WITH child AS MATERIALIZED ({_ONCE.format(_slices(_CHILD_COLUMNS, _CALLED, 2, 3))}),
every_caller AS MATERIALIZED ({_ONCE.format(_slices(_CALLER_COLUMNS, _CALLING, 6, 7))}),
caller AS MATERIALIZED (SELECT * FROM every_caller WHERE peer_type IS NOT NULL AND peer_name <> ''),
message AS MATERIALIZED (
    SELECT c.tenant_id, c.trace_id AS child_trace, c.span_id AS child, c.service_name AS child_service,
           l.trace_id::uuid AS trace_id, decode(l.span_id, 'hex') AS span_id
    FROM child c
    CROSS JOIN LATERAL (
        SELECT e ->> 'trace_id' AS trace_id, e ->> 'span_id' AS span_id
        FROM jsonb_array_elements(c.links) e LIMIT {MOST_LINKS}
    ) l
    WHERE c.links IS NOT NULL AND l.trace_id ~ '^[0-9a-f]{{32}}$' AND l.span_id ~ '^[0-9a-f]{{16}}$'
    LIMIT {MOST_MESSAGES}
),
-- What a called span names as who called it. A link to the parent says nothing new.
named AS MATERIALIZED (
    SELECT tenant_id, trace_id AS child_trace, span_id AS child, service_name AS child_service,
           trace_id, parent_span_id AS span_id, false AS linked
    FROM child WHERE parent_span_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT m.*, true FROM message m
    WHERE NOT EXISTS (
        SELECT FROM child c
        WHERE c.tenant_id = m.tenant_id AND c.trace_id = m.child_trace AND c.span_id = m.child
          AND c.service_name = m.child_service AND c.trace_id = m.trace_id AND c.parent_span_id = m.span_id
    )
),
trace AS MATERIALIZED (
    SELECT tenant_id, trace_id FROM named UNION SELECT tenant_id, trace_id FROM caller
),
seen AS MATERIALIZED (
    SELECT DISTINCT t.tenant_id, t.trace_id, s.*
    FROM trace t
    CROSS JOIN LATERAL (
        SELECT s.span_id, s.parent_span_id, s.service_name, s.kind, s.resource_id, s.start_time
        FROM service_spans s
        WHERE s.trace_id = t.trace_id AND s.tenant_id = t.tenant_id
          AND s.start_time >= $1 - $4::interval AND s.start_time < $8
        LIMIT $5
    ) s
),
pair AS MATERIALIZED (
    SELECT c.tenant_id, p.service_name AS parent_service, c.service_name AS child_service,
           CASE WHEN c.kind = 'consumer' THEN 'messaging' ELSE 'call' END AS connection_type, c.destination,
           c.receives, c.status, c.duration_ns, n.linked, p.trace_id, p.span_id, p.start_time
    FROM named n
    JOIN child c ON c.tenant_id = n.tenant_id AND c.trace_id = n.child_trace AND c.span_id = n.child
        AND c.service_name = n.child_service
    JOIN seen p ON p.tenant_id = n.tenant_id AND p.trace_id = n.trace_id AND p.span_id = n.span_id
    WHERE (p.service_name <> c.service_name OR p.kind IN ({_CALLING}) AND p.resource_id <> c.resource_id)
      AND (NOT n.linked OR p.kind <> 'consumer')
),
-- A span that fetches a message does not count beside the one that processes it.
counted AS (
    SELECT * FROM (
        SELECT *, bool_and(receives) OVER (
            PARTITION BY tenant_id, trace_id, span_id, child_service, connection_type
        ) AS only_received
        FROM pair
    ) p WHERE NOT receives OR only_received
),
answer AS MATERIALIZED (
    SELECT tenant_id, trace_id, parent_span_id AS span_id FROM seen
    WHERE parent_span_id IS NOT NULL AND kind IN ({_CALLED})
    UNION SELECT tenant_id, trace_id, span_id FROM pair
    UNION SELECT k.tenant_id, k.trace_id, k.span_id
    FROM service_edge_minutes m CROSS JOIN LATERAL unnest(m.answered) a (span_id)
    JOIN caller k ON k.span_id = a.span_id
    WHERE m.minute = $1
),
-- One call through two libraries, as spans of one service around each other, is the outer one's.
no_leaf AS MATERIALIZED (
    SELECT tenant_id, trace_id, span_id FROM answer
    UNION ALL
    SELECT i.tenant_id, i.trace_id, i.parent_span_id
    FROM caller i
    JOIN answer a ON a.tenant_id = i.tenant_id AND a.trace_id = i.trace_id AND a.span_id = i.span_id
    UNION ALL
    SELECT i.tenant_id, i.trace_id, i.span_id
    FROM caller i
    JOIN caller o ON o.tenant_id = i.tenant_id AND o.trace_id = i.trace_id AND o.span_id = i.parent_span_id
        AND o.service_name = i.service_name
),
leaf AS MATERIALIZED (
    SELECT k.* FROM caller k
    WHERE NOT EXISTS (
        SELECT FROM no_leaf n WHERE n.tenant_id = k.tenant_id AND n.trace_id = k.trace_id AND n.span_id = k.span_id
    )
),
child_stands_for AS MATERIALIZED ({_STANDS_FOR.format(step="$3", spans="child", kinds=_CALLED)}),
caller_stands_for AS MATERIALIZED ({_STANDS_FOR.format(step="$7", spans="every_caller", kinds=_CALLING)}),
edge AS (
    SELECT c.tenant_id, c.parent_service, c.child_service, 'service' AS child_type, c.connection_type, c.destination,
           count(*) * f.calls AS calls, count(*) FILTER (WHERE c.status = 'error') * f.calls AS errors,
           sum(c.duration_ns) * f.calls AS duration_ns_sum
    FROM counted c
    JOIN child_stands_for f ON f.tenant_id = c.tenant_id AND f.service_name = c.child_service
    GROUP BY c.tenant_id, c.parent_service, c.child_service, c.connection_type, c.destination, f.calls
    UNION ALL
    SELECT l.tenant_id, l.service_name, l.peer_name, l.peer_type, l.peer_type, '',
           count(*) * f.calls, count(*) FILTER (WHERE l.status = 'error') * f.calls, sum(l.duration_ns) * f.calls
    FROM leaf l
    JOIN caller_stands_for f ON f.tenant_id = l.tenant_id AND f.service_name = l.service_name
    GROUP BY l.tenant_id, l.service_name, l.peer_name, l.peer_type, f.calls
),
placed AS (
    SELECT *, row_number() OVER (
        PARTITION BY tenant_id, parent_service, connection_type, child_type,
            CASE WHEN child_type = 'service' THEN child_service END
        ORDER BY calls DESC, child_service, destination
    ) > {MOST_LEAVES} AS other
    FROM edge
),
-- A call of another minute that was counted as answered by nobody: that minute is looked at again.
crossing AS MATERIALIZED (
    SELECT DISTINCT date_trunc('minute', start_time, 'UTC') AS minute, span_id, linked
    FROM pair WHERE start_time < $1 OR start_time >= $1 + interval '1 minute'
),
crossed AS (
    SELECT c.minute, array_agg(DISTINCT c.span_id) FILTER (WHERE c.linked) AS linked,
           bool_or(u.minute IS NOT NULL) AS wrong
    FROM crossing c
    LEFT JOIN (
        SELECT m.minute, k.span_id
        FROM service_edge_minutes m CROSS JOIN LATERAL unnest(m.unanswered) k (span_id)
        WHERE m.minute IN (SELECT minute FROM crossing)
    ) u ON u.minute = c.minute AND u.span_id = c.span_id
    GROUP BY c.minute
),
told AS (
    UPDATE service_edge_minutes m
    SET changed_at = CASE WHEN c.wrong THEN now() ELSE m.changed_at END,
        answered = ARRAY (SELECT unnest(m.answered) UNION SELECT unnest(c.linked) LIMIT {MOST_MESSAGES})
    FROM crossed c
    WHERE m.minute = c.minute AND (c.wrong OR c.linked IS NOT NULL)
),
kept AS (
    UPDATE service_edge_minutes m
    SET missing = k.missing, waiting = cardinality(k.missing), unanswered = k.unanswered
    FROM (
        SELECT ARRAY (
            SELECT DISTINCT n.span_id FROM named n WHERE NOT EXISTS (
                SELECT FROM seen s
                WHERE s.tenant_id = n.tenant_id AND s.trace_id = n.trace_id AND s.span_id = n.span_id
            )
        ) AS missing, ARRAY (SELECT span_id FROM leaf) AS unanswered
    ) k
    WHERE m.minute = $1
)
INSERT INTO service_edges (minute, tenant_id, parent_service, child_service, child_type, connection_type, destination,
                           calls, errors, duration_ns_sum)
SELECT $1, tenant_id, parent_service,
       CASE WHEN other AND child_type <> 'service' THEN '{OTHERS}' ELSE child_service END AS child, child_type,
       connection_type, CASE WHEN other AND child_type = 'service' THEN '{OTHERS}' ELSE destination END AS through,
       round(sum(calls))::bigint, round(sum(errors))::bigint, sum(duration_ns_sum)
FROM placed
GROUP BY tenant_id, parent_service, child, child_type, connection_type, through
"""  # noqa: S608 - nothing in it comes from outside
"""Writes the edges of the minute $1, of which there are none, and what it waits for.

$2 services that are called, $3 of how many seconds one is looked at; $6 and $7 the same for services that call; $4 how
long before the minute a parent may begin, $8 until when spans of its traces are looked at; $5 spans of a trace.
"""
