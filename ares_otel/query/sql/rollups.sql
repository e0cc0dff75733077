-- Answers from roll-ups. What is not merged yet is added: an answer always holds all that was committed.

-- name: recent_performance
-- What `operations_last_hour` has ready, and what requests added since. Where nobody keeps that hour up, its minutes. Arrays are
-- read only where several rows have to be merged: of all operations where there are several tenants.
WITH hour AS MATERIALIZED (
    SELECT CASE WHEN s.last_hour_start BETWEEN d.due - interval '2 minutes' AND d.due THEN s.last_hour_start END AS ready, d.due,
           (SELECT min(tenant_id) <> max(tenant_id) FROM operations_last_hour) AS tenants
    FROM rollup_state s, (SELECT date_trunc('minute', now(), 'UTC') - interval '1 hour' AS due) d
),
waiting AS MATERIALIZED (
    SELECT i.service_name, i.operation_name, i.calls, i.errors, i.duration_ns_sum, i.duration_ns_max,
           array_send(i.buckets) AS buckets, array_send(i.counts) AS counts
    FROM span_rollup_increments i, hour h
    WHERE i.minute >= coalesce(h.ready, h.due)
      AND i.service_name = left(:service, 255)  -- when service
    LIMIT :most_waiting
),
found AS (
    SELECT * FROM (
        SELECT o.service_name, o.operation_name, o.calls, o.errors, o.duration_ns_sum, o.duration_ns_max,
               CASE WHEN h.tenants OR w.service_name IS NOT NULL THEN array_send(o.buckets) END AS buckets,
               CASE WHEN h.tenants OR w.service_name IS NOT NULL THEN array_send(o.counts) END AS counts,
               o.percentiles_ns
        FROM operations_last_hour o
        CROSS JOIN hour h
        LEFT JOIN (SELECT DISTINCT service_name, operation_name FROM waiting) w
            ON w.service_name = o.service_name AND w.operation_name = o.operation_name
        WHERE h.ready IS NOT NULL
          AND o.service_name = left(:service, 255)  -- when service
        ORDER BY o.service_name, o.calls DESC, o.operation_name
        LIMIT :most
    ) r
    UNION ALL
    SELECT r.service_name, r.operation_name, r.calls, r.errors, r.duration_ns_sum, r.duration_ns_max,
           array_send(r.buckets), array_send(r.counts), NULL
    FROM span_rollups r
    CROSS JOIN hour h
    WHERE h.ready IS NULL AND r.minutes = 1 AND r.minute >= (SELECT due FROM hour)
      AND r.service_name = left(:service, 255)  -- when service
    UNION ALL
    SELECT *, NULL FROM waiting
)
SELECT coalesce(h.ready, h.due) AS since, (SELECT count(*) FROM waiting) AS waiting, f.*
FROM hour h LEFT JOIN found f ON true

-- name: recent_health
WITH hour AS MATERIALIZED (
    SELECT CASE WHEN s.last_hour_start BETWEEN d.due - interval '2 minutes' AND d.due THEN s.last_hour_start END AS ready, d.due,
           (SELECT min(tenant_id) <> max(tenant_id) FROM logs_last_hour) AS tenants
    FROM rollup_state s, (SELECT date_trunc('minute', now(), 'UTC') - interval '1 hour' AS due) d
),
waiting AS MATERIALIZED (
    SELECT i.service_name, i.error, array_send(i.trace_hashes) AS trace_hashes, cardinality(i.trace_hashes) AS hashes, i.threshold
    FROM log_rollup_increments i, hour h
    WHERE i.minute >= coalesce(h.ready, h.due)
    LIMIT :most_waiting
),
registered AS (
    SELECT DISTINCT ON (name) name AS service_name, status, version, last_heartbeat
    FROM service_registry
    ORDER BY name, status = 'online' DESC, last_heartbeat DESC
    LIMIT :limit
),
found AS (
    SELECT l.service_name, l.error, CASE WHEN h.tenants OR w.service_name IS NOT NULL THEN array_send(l.trace_hashes) END AS trace_hashes, l.threshold,
           cardinality(l.trace_hashes) AS hashes
    FROM logs_last_hour l
    CROSS JOIN hour h
    LEFT JOIN (SELECT DISTINCT service_name FROM waiting) w ON w.service_name = l.service_name
    WHERE h.ready IS NOT NULL
    UNION ALL
    SELECT r.service_name, r.error, array_send(r.trace_hashes), r.threshold, cardinality(r.trace_hashes)
    FROM log_rollups r
    CROSS JOIN hour h
    WHERE h.ready IS NULL AND r.minutes = 1 AND r.minute >= (SELECT due FROM hour)
    UNION ALL
    SELECT w.service_name, w.error, w.trace_hashes, w.threshold, w.hashes FROM waiting w
)
SELECT coalesce(h.ready, h.due) AS since, (SELECT count(*) FROM waiting) AS waiting,
       r.service_name, r.status, r.version, r.last_heartbeat,
       extract(epoch FROM now() - r.last_heartbeat)::double precision AS seconds_since_heartbeat,
       f.error, f.trace_hashes, f.threshold, f.hashes
FROM hour h
LEFT JOIN registered r ON true
LEFT JOIN found f ON f.service_name = r.service_name
ORDER BY r.service_name
