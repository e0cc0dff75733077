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

-- name: map_bounds
SELECT date_trunc('minute', coalesce(:start::timestamptz,
                                     coalesce(:end::timestamptz, now()) - :hours::double precision * interval '1 hour'), 'UTC') AS since,
       :end::timestamptz AS until,
       (SELECT least(minute + interval '1 minute', :end::timestamptz) FROM service_edge_minutes
        WHERE computed_at IS NOT NULL ORDER BY minute DESC LIMIT 1) AS complete

-- name: edges
-- Whole minutes, and whole hours of what is older than two days.
SELECT parent_service, child_service, child_type, connection_type, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
       coalesce(sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6, 0)::double precision AS avg_duration_ms,
       coalesce(array_agg(destination) FILTER (WHERE destination <> ''), '{}') AS destinations, count(*) OVER () AS found
FROM (
    SELECT parent_service, child_service, child_type, connection_type, destination, sum(calls) AS calls, sum(errors) AS errors,
           sum(duration_ns_sum) AS duration_ns_sum
    FROM service_edges
    WHERE true
      AND minute >= :recent  -- when recent
      AND minute >= :old::timestamptz - interval '59 minutes' AND (minutes = 60 OR minute >= :old)  -- when old
      AND minute < :until  -- when until
      AND (parent_service = left(:service, 255) OR child_service = left(:service, 255))  -- when service
    GROUP BY parent_service, child_service, child_type, connection_type, destination
) e
GROUP BY parent_service, child_service, child_type, connection_type
ORDER BY calls DESC, parent_service, child_service, connection_type, child_type
LIMIT :limit

-- name: nodes
SELECT service_name AS name, 'service' AS type, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
       (sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6)::double precision AS avg_duration_ms, count(*) OVER () AS found
FROM service_nodes
WHERE true
  AND minute >= :recent  -- when recent
  AND minute >= :old::timestamptz - interval '59 minutes' AND (minutes = 60 OR minute >= :old)  -- when old
  AND minute < :until  -- when until
  AND service_name = ANY (:services::text[])  -- when services
GROUP BY service_name
ORDER BY calls DESC, service_name
LIMIT :limit

-- name: dependencies
SELECT parent_service, child_service, sum(calls)::bigint AS calls
FROM service_edges
WHERE minute < :end AND child_type = 'service'
  AND minute >= :recent  -- when recent
  AND minute >= :old::timestamptz - interval '59 minutes' AND (minutes = 60 OR minute >= :old)  -- when old
GROUP BY parent_service, child_service
ORDER BY calls DESC, parent_service, child_service
LIMIT :limit
