-- Both views, as they are.

-- name: health
SELECT service_name, status, version, last_heartbeat, seconds_since_heartbeat, active_traces, error_count_1h,
       count(*) OVER () AS found
FROM (SELECT * FROM v_system_health ORDER BY service_name LIMIT :limit) h
ORDER BY service_name

-- name: performance
SELECT p.*
FROM (
    SELECT o.*,
           sum(octet_length(o.operation_name)) OVER (
               ORDER BY o.service_name, o.call_count DESC, o.operation_name ROWS UNBOUNDED PRECEDING
           ) AS running_bytes,
           count(*) OVER () AS found
    FROM (
        SELECT service_name, operation_name, call_count, avg_duration_ms, p50_ms, p95_ms, p99_ms, error_count
        FROM v_service_performance
        WHERE true
          AND service_name = left(:service, 255)  -- when service
        ORDER BY service_name, call_count DESC, operation_name
        LIMIT :limit
    ) o
) p
WHERE p.running_bytes - octet_length(p.operation_name) < :max_bytes
ORDER BY p.service_name, p.call_count DESC, p.operation_name

-- name: hour_ago
SELECT now() - interval '1 hour' AS since
