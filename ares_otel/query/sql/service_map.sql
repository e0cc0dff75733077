-- Which services there are, what they do, and who calls whom: from roll-ups.

-- name: services
SELECT service_name, count(DISTINCT operation_name) AS operations, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
       count(*) OVER () AS found
FROM (
    SELECT service_name, operation_name, first_seen, last_seen FROM service_operations
    UNION ALL
    SELECT service_name, operation_name, minute, minute FROM span_rollup_increments
) o
GROUP BY service_name
ORDER BY service_name
LIMIT :limit

-- name: operations
SELECT operation_name, kind, min(first_seen) AS first_seen, max(last_seen) AS last_seen, count(*) OVER () AS found
FROM (
    SELECT operation_name, kind, first_seen, last_seen FROM service_operations WHERE service_name = left(:service, 255)
    UNION ALL
    SELECT operation_name, kind, minute, minute FROM span_rollup_increments WHERE service_name = left(:service, 255)
) o
GROUP BY operation_name, kind
ORDER BY operation_name, kind
LIMIT :limit

-- name: edges
SELECT parent_service, child_service, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
       (sum(duration_ns_sum) / sum(calls) / 1e6)::double precision AS avg_duration_ms, count(*) OVER () AS found
FROM service_edges
WHERE minute >= :since
GROUP BY parent_service, child_service
ORDER BY calls DESC, parent_service, child_service
LIMIT :limit

-- name: edges_until
SELECT date_trunc('minute', now(), 'UTC') - :hours::double precision * interval '1 hour' AS since,
       max(minute) + interval '1 minute' AS until
FROM service_edge_minutes WHERE computed_at IS NOT NULL
