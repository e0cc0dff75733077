-- name: calls_per_second
SELECT sum(calls)::double precision / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::double precision AS "calls"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
  AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))

-- name: error_share
SELECT sum(errors)::double precision / nullif(sum(calls), 0)::double precision AS "errors"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
  AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))

-- name: p95
SELECT (rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest), '{0.95}'))[1] / 1e6 AS "p95"
FROM (
    SELECT h.bucket, sum(h.spans)::bigint AS spans, max(r.duration_ns_max) AS highest
    FROM span_rollups r CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
    WHERE $__timeFilter(r.minute) AND r.service_name = '${service}' AND r.kind IN ('server', 'consumer')
      AND ('*' = ANY (ARRAY[$operation]::text[]) OR r.operation_name = ANY (ARRAY[$operation]::text[]))
    GROUP BY h.bucket
) merged
HAVING count(*) > 0

-- name: error_records
SELECT coalesce(sum(error), 0)::double precision AS "ERROR records"
FROM log_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}'

-- name: calls_by_operation
SELECT $__timeGroup(minute, '$__interval') AS "time", operation_name AS metric,
       sum(calls)::double precision / greatest($__interval_ms / 1000.0, 60 * max(minutes))::double precision AS "calls"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
  AND operation_name IN (
      SELECT operation_name FROM span_rollups
      WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
        AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
      GROUP BY operation_name ORDER BY sum(calls) DESC LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: errors_by_operation
SELECT $__timeGroup(minute, '$__interval') AS "time", operation_name AS metric,
       sum(errors)::double precision / nullif(sum(calls), 0)::double precision AS "errors"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
  AND operation_name IN (
      SELECT operation_name FROM span_rollups
      WHERE $__timeFilter(minute) AND service_name = '${service}' AND kind IN ('server', 'consumer')
        AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
      GROUP BY operation_name ORDER BY sum(errors) DESC, sum(calls) DESC LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: latency
SELECT "time", p[1] / 1e6 AS "p50", p[2] / 1e6 AS "p95", p[3] / 1e6 AS "p99", highest / 1e6::double precision AS "longest"
FROM (
    SELECT "time", rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest)) AS p,
           max(highest) AS highest
    FROM (
        SELECT $__timeGroup(r.minute, '$__interval') AS "time", h.bucket, sum(h.spans)::bigint AS spans, max(r.duration_ns_max) AS highest
        FROM span_rollups r CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
        WHERE $__timeFilter(r.minute) AND r.service_name = '${service}' AND r.kind IN ('server', 'consumer')
          AND ('*' = ANY (ARRAY[$operation]::text[]) OR r.operation_name = ANY (ARRAY[$operation]::text[]))
        GROUP BY 1, 2
    ) merged
    GROUP BY "time"
) found
ORDER BY "time"

-- name: operations
WITH busiest AS (
    SELECT operation_name, kind, sum(calls) AS calls, sum(errors) AS errors, sum(duration_ns_sum) AS duration, max(duration_ns_max) AS highest
    FROM span_rollups
    WHERE $__timeFilter(minute) AND service_name = '${service}'
      AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
    GROUP BY operation_name, kind
    ORDER BY sum(calls) DESC LIMIT 50
), merged AS (
    SELECT r.operation_name, r.kind, h.bucket, sum(h.spans)::bigint AS spans
    FROM span_rollups r JOIN busiest USING (operation_name, kind)
    CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
    WHERE $__timeFilter(r.minute) AND r.service_name = '${service}'
    GROUP BY 1, 2, 3
)
SELECT b.operation_name AS "operation", b.kind AS "kind", b.calls::double precision AS "calls",
       (b.errors / nullif(b.calls, 0))::double precision AS "errors", (b.duration / nullif(b.calls, 0) / 1e6)::double precision AS "mean",
       m.p[1] / 1e6 AS "p50", m.p[2] / 1e6 AS "p95", m.p[3] / 1e6 AS "p99", b.highest / 1e6::double precision AS "longest"
FROM busiest b JOIN (
    SELECT operation_name, kind, rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest)) AS p
    FROM merged JOIN busiest USING (operation_name, kind)
    GROUP BY operation_name, kind
) m USING (operation_name, kind)
ORDER BY b.calls DESC

-- name: callers
SELECT parent_service AS "service", connection_type AS "by", sum(calls)::double precision AS "calls",
       (sum(errors) / nullif(sum(calls), 0))::double precision AS "errors",
       (sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6)::double precision AS "mean"
FROM service_edges
WHERE $__timeFilter(minute) AND child_service = '${service}' AND child_type = 'service'
GROUP BY 1, 2
ORDER BY sum(calls) DESC
LIMIT 50

-- name: dependencies
SELECT child_service AS "service", child_type AS "is a", connection_type AS "by", sum(calls)::double precision AS "calls",
       (sum(errors) / nullif(sum(calls), 0))::double precision AS "errors",
       (sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6)::double precision AS "mean"
FROM service_edges
WHERE $__timeFilter(minute) AND parent_service = '${service}'
GROUP BY 1, 2, 3
ORDER BY sum(calls) DESC
LIMIT 50

-- name: failed_spans
SELECT start_time AS "time", operation_name AS "operation", kind AS "kind", duration_ms AS "duration", status_message AS "message",
       replace(trace_id::text, '-', '') AS "trace"
FROM service_spans
WHERE service_name = '${service}' AND $__timeFilter(start_time) AND status = 'error'
  AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
ORDER BY start_time DESC
LIMIT 50

-- name: records_by_level
SELECT $__timeGroup(minute, '$__interval') AS "time", sum(error)::double precision AS "ERROR", sum(warn)::double precision AS "WARN",
       sum(info)::double precision AS "INFO", sum(debug)::double precision AS "DEBUG"
FROM log_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}'
GROUP BY 1
ORDER BY 1

-- name: hosts
SELECT attributes ->> 'host.name' AS "host", attributes ->> 'service.instance.id' AS "instance", attributes ->> 'service.version' AS "version",
       coalesce(attributes ->> 'k8s.pod.name', attributes ->> 'container.id', '') AS "pod or container",
       coalesce(attributes ->> 'telemetry.sdk.language', '') AS "language", first_seen AS "first seen", last_seen AS "last seen"
FROM otel_resources
WHERE service_name = '${service}' AND last_seen >= $__timeFrom()::timestamptz - interval '1 day'
ORDER BY last_seen DESC
LIMIT 50

-- name: instances
SELECT r.instance_id AS "instance", r.version AS "version", r.status AS "status", s.summary AS "signs", r.last_heartbeat AS "heard of",
       r.status_reason AS "why"
FROM service_registry r JOIN v_service_signs s ON s.id = r.id
WHERE r.name = '${service}'
ORDER BY r.status = 'online', r.last_heartbeat DESC
LIMIT 50
