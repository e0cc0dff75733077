-- One service at a time: its newest spans are the first rows of an index, those of all services would have to be sorted.

-- name: spans_per_second
SELECT $__timeGroup(minute, '$__interval') AS "time",
       sum(calls - errors)::double precision / greatest($__interval_ms / 1000.0, 60 * max(minutes))::double precision AS "not failed",
       sum(errors)::double precision / greatest($__interval_ms / 1000.0, 60 * max(minutes))::double precision AS "failed"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = '${service}'
  AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
GROUP BY 1
ORDER BY 1

-- name: durations
SELECT start_time AS "time", CASE WHEN status <> 'error' THEN duration_ms END AS "not failed", CASE WHEN status = 'error' THEN duration_ms END AS "failed"
FROM (
    SELECT start_time, status, duration_ms
    FROM service_spans
    WHERE service_name = '${service}' AND $__timeFilter(start_time)
      AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
      AND ('*' = ANY (ARRAY[$status]::text[]) OR status = ANY (ARRAY[$status]::text[]))
      AND duration_ms >= coalesce(nullif('${min_ms}', ''), '0')::double precision
      AND ('${key}' = '' OR '${value}' = '' AND attributes ? '${key}' OR attributes ->> '${key}' = '${value}')
    ORDER BY start_time DESC
    LIMIT 1000
) found
ORDER BY start_time

-- name: traces
WITH found AS (
    SELECT trace_id, start_time
    FROM service_spans
    WHERE service_name = '${service}' AND $__timeFilter(start_time)
      AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
      AND ('*' = ANY (ARRAY[$status]::text[]) OR status = ANY (ARRAY[$status]::text[]))
      AND duration_ms >= coalesce(nullif('${min_ms}', ''), '0')::double precision
      AND ('${key}' = '' OR '${value}' = '' AND attributes ? '${key}' OR attributes ->> '${key}' = '${value}')
    ORDER BY start_time DESC
    LIMIT 1000
), newest AS MATERIALIZED (
    SELECT trace_id, count(*) AS matching FROM found GROUP BY trace_id ORDER BY max(start_time) DESC LIMIT 50
)
SELECT t.began AS "time", t.root AS "begins with", t.duration AS "duration", t.spans AS "spans", n.matching AS "matching", t.failed AS "failed",
       t.services AS "services", replace(n.trace_id::text, '-', '') AS "trace"
FROM newest n CROSS JOIN LATERAL (
    SELECT min(start_time) AS began, count(*) AS spans, count(*) FILTER (WHERE status = 'error') AS failed,
           (array_agg(service_name || ': ' || operation_name ORDER BY parent_span_id IS NOT NULL, start_time))[1] AS root,
           extract(epoch FROM max(start_time + duration_ms * interval '1 millisecond') - min(start_time))::double precision * 1000 AS duration,
           string_agg(DISTINCT service_name, ', ') AS services
    FROM (
        SELECT service_name, operation_name, parent_span_id, start_time, duration_ms, status
        FROM service_spans
        WHERE trace_id = n.trace_id AND $__timeFilter(start_time)
        LIMIT 1000
    ) s
) t
ORDER BY t.began DESC

-- name: spans
SELECT start_time AS "time", operation_name AS "operation", kind AS "kind", duration_ms AS "duration", status AS "status",
       status_message AS "message", left(attributes::text, 1000) AS "attributes", replace(trace_id::text, '-', '') AS "trace"
FROM service_spans
WHERE service_name = '${service}' AND $__timeFilter(start_time)
  AND ('*' = ANY (ARRAY[$operation]::text[]) OR operation_name = ANY (ARRAY[$operation]::text[]))
  AND ('*' = ANY (ARRAY[$status]::text[]) OR status = ANY (ARRAY[$status]::text[]))
  AND duration_ms >= coalesce(nullif('${min_ms}', ''), '0')::double precision
  AND ('${key}' = '' OR '${value}' = '' AND attributes ? '${key}' OR attributes ->> '${key}' = '${value}')
ORDER BY start_time DESC
LIMIT 200
