-- What was asked of services is server and consumer spans: a client's span is the same call, seen from its other side.

-- name: calls_per_second
SELECT sum(calls)::double precision / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::double precision AS "calls"
FROM span_rollups
WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))

-- name: error_share
SELECT sum(errors)::double precision / nullif(sum(calls), 0)::double precision AS "errors"
FROM span_rollups
WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))

-- name: p95
SELECT (rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest), '{0.95}'))[1] / 1e6 AS "p95"
FROM (
    SELECT h.bucket, sum(h.spans)::bigint AS spans, max(r.duration_ns_max) AS highest
    FROM span_rollups r CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
    WHERE $__timeFilter(r.minute) AND r.kind IN ('server', 'consumer')
      AND ('*' = ANY (ARRAY[$service]::text[]) OR r.service_name = ANY (ARRAY[$service]::text[]))
    GROUP BY h.bucket
) merged
HAVING count(*) > 0

-- name: error_records
SELECT coalesce(sum(error), 0)::double precision AS "ERROR records"
FROM log_rollups
WHERE $__timeFilter(minute)
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))

-- name: services_not_online
SELECT count(*) FILTER (WHERE status <> 'online') AS "not online"
FROM v_system_health
WHERE '*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[])

-- name: calls_by_service
SELECT $__timeGroup(minute, '$__interval') AS "time", service_name AS metric,
       sum(calls)::double precision / greatest($__interval_ms / 1000.0, 60 * max(minutes))::double precision AS "calls"
FROM span_rollups
WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
  AND service_name IN (
      SELECT service_name FROM span_rollups
      WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
        AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
      GROUP BY service_name ORDER BY sum(calls) DESC LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: error_share_by_service
SELECT $__timeGroup(minute, '$__interval') AS "time", service_name AS metric,
       sum(errors)::double precision / nullif(sum(calls), 0)::double precision AS "errors"
FROM span_rollups
WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
  AND service_name IN (
      SELECT service_name FROM span_rollups
      WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
        AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
      GROUP BY service_name ORDER BY sum(errors) DESC, sum(calls) DESC LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: p95_by_service
SELECT "time", service_name AS metric,
       (rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest), '{0.95}'))[1] / 1e6 AS "p95"
FROM (
    SELECT $__timeGroup(r.minute, '$__interval') AS "time", r.service_name, h.bucket, sum(h.spans)::bigint AS spans,
           max(r.duration_ns_max) AS highest
    FROM span_rollups r CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
    WHERE $__timeFilter(r.minute) AND r.kind IN ('server', 'consumer')
      AND r.service_name IN (
          SELECT service_name FROM span_rollups
          WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
            AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
          GROUP BY service_name ORDER BY sum(calls) DESC LIMIT 20)
    GROUP BY 1, 2, 3
) merged
GROUP BY 1, 2
ORDER BY 1

-- name: services
SELECT service_name AS "service", sum(calls)::double precision AS "calls",
       sum(calls)::double precision / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::double precision AS "calls per second",
       sum(errors)::double precision / nullif(sum(calls), 0)::double precision AS "errors",
       (sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6)::double precision AS "mean", max(duration_ns_max) / 1e6::double precision AS "longest"
FROM span_rollups
WHERE $__timeFilter(minute) AND kind IN ('server', 'consumer')
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
GROUP BY service_name
ORDER BY sum(calls) DESC
LIMIT 100

-- name: map_nodes
WITH edges AS (
    SELECT parent_service, child_service, child_type, sum(calls) AS calls, sum(errors) AS errors
    FROM service_edges
    WHERE $__timeFilter(minute)
    GROUP BY 1, 2, 3
    ORDER BY sum(calls) DESC LIMIT 200
), nodes AS (
    SELECT 'service' AS kind, parent_service AS name, NULL::numeric AS calls, NULL::numeric AS errors FROM edges
    UNION ALL
    SELECT child_type, child_service, calls, errors FROM edges WHERE child_type <> 'service'
    UNION ALL
    SELECT 'service', service_name, sum(calls), sum(errors) FROM service_nodes
    WHERE $__timeFilter(minute) AND service_name IN (SELECT parent_service FROM edges UNION SELECT child_service FROM edges)
    GROUP BY service_name
)
SELECT kind || ' ' || name AS id, name AS title, kind AS subtitle,
       coalesce(sum(calls), 0)::double precision / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::double precision AS mainstat,
       coalesce(sum(errors) / nullif(sum(calls), 0), 0)::double precision AS secondarystat,
       1 - coalesce(sum(errors) / nullif(sum(calls), 0), 0)::double precision AS arc__well,
       coalesce(sum(errors) / nullif(sum(calls), 0), 0)::double precision AS arc__failed
FROM nodes
GROUP BY kind, name
ORDER BY 1
LIMIT 400

-- name: map_edges
SELECT 'service ' || parent_service || ' ' || child_type || ' ' || child_service AS id,
       'service ' || parent_service AS source, child_type || ' ' || child_service AS target,
       sum(calls)::double precision / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::double precision AS mainstat,
       coalesce(sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6, 0)::double precision AS secondarystat
FROM service_edges
WHERE $__timeFilter(minute)
GROUP BY parent_service, child_service, child_type
ORDER BY sum(calls) DESC
LIMIT 200

-- name: records_by_level
SELECT $__timeGroup(minute, '$__interval') AS "time", sum(error)::double precision AS "ERROR", sum(warn)::double precision AS "WARN",
       sum(info)::double precision AS "INFO", sum(debug)::double precision AS "DEBUG"
FROM log_rollups
WHERE $__timeFilter(minute)
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
GROUP BY 1
ORDER BY 1

-- name: instances
SELECT r.name AS "service", r.instance_id AS "instance", r.version AS "version", r.status AS "status", s.summary AS "signs",
       r.last_heartbeat AS "heard of", r.status_reason AS "why"
FROM service_registry r JOIN v_service_signs s ON s.id = r.id
WHERE '*' = ANY (ARRAY[$service]::text[]) OR r.name = ANY (ARRAY[$service]::text[])
ORDER BY r.status = 'online', r.last_heartbeat DESC
LIMIT 100
