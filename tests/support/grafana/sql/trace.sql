-- name: services
SELECT service_name AS "service", count(*) AS "spans", count(*) FILTER (WHERE status = 'error') AS "failed",
       min(start_time) AS "begins", max(duration_ms) AS "longest"
FROM service_spans
WHERE trace_id = nullif('${trace_id}', '')::uuid AND $__timeFilter(start_time)
GROUP BY service_name
ORDER BY min(start_time)
LIMIT 100

-- name: spans
SELECT extract(epoch FROM start_time - min(start_time) OVER ())::double precision * 1000 AS "after", duration_ms AS "duration",
       service_name AS "service", operation_name AS "operation", kind AS "kind", status AS "status", status_message AS "message",
       left(attributes::text, 1000) AS "attributes", encode(span_id, 'hex') AS "span", coalesce(encode(parent_span_id, 'hex'), '') AS "parent"
FROM service_spans
WHERE trace_id = nullif('${trace_id}', '')::uuid AND $__timeFilter(start_time)
ORDER BY start_time, start_ns
LIMIT 1000

-- name: records
SELECT "timestamp" AS "time", log_level AS "level", service_name AS "service", left(message, 2000) AS "message",
       left(metadata::text, 1000) AS "attributes", coalesce(encode(span_id, 'hex'), '') AS "span"
FROM service_logs
WHERE trace_id = nullif('${trace_id}', '')::uuid AND $__timeFilter("timestamp")
ORDER BY "timestamp", timestamp_ns, id
LIMIT 1000
