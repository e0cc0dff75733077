-- The two questions asked most: how fast is each operation, and who is well.
CREATE VIEW v_service_performance AS
SELECT service_name,
       operation_name,
       count(*) AS call_count,
       avg(duration_ms) AS avg_duration_ms,
       percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms,
       count(*) FILTER (WHERE status = 'error') AS error_count
FROM service_spans
WHERE start_time > now() - interval '1 hour'
GROUP BY service_name, operation_name;

COMMENT ON VIEW   v_service_performance IS 'Spans of the last hour by service and operation: calls, latency, errors';
COMMENT ON COLUMN v_service_performance.service_name IS 'service.name of the resource';
COMMENT ON COLUMN v_service_performance.operation_name IS 'Span name';
COMMENT ON COLUMN v_service_performance.call_count IS 'Number of spans';
COMMENT ON COLUMN v_service_performance.avg_duration_ms IS 'Mean duration in milliseconds';
COMMENT ON COLUMN v_service_performance.p50_ms IS 'Median duration in milliseconds';
COMMENT ON COLUMN v_service_performance.p95_ms IS '95th percentile of the duration in milliseconds';
COMMENT ON COLUMN v_service_performance.p99_ms IS '99th percentile of the duration in milliseconds';
COMMENT ON COLUMN v_service_performance.error_count IS 'Spans with status error';

CREATE VIEW v_system_health AS
SELECT r.name AS service_name,
       r.status,
       r.version,
       r.last_heartbeat,
       extract(epoch FROM now() - r.last_heartbeat)::double precision AS seconds_since_heartbeat,
       COALESCE(l.active_traces, 0) AS active_traces,
       COALESCE(l.error_count_1h, 0) AS error_count_1h
FROM (
    SELECT DISTINCT ON (name) name, status, version, last_heartbeat
    FROM service_registry
    ORDER BY name, status = 'online' DESC, last_heartbeat DESC
) r
LEFT JOIN (
    SELECT service_name,
           count(DISTINCT trace_id) AS active_traces,
           count(*) FILTER (WHERE log_level = 'ERROR') AS error_count_1h
    FROM service_logs
    WHERE "timestamp" > now() - interval '1 hour'
    GROUP BY service_name
) l ON l.service_name = r.name;

COMMENT ON VIEW   v_system_health IS 'Registered services with what their logs of the last hour say, one row a service';
COMMENT ON COLUMN v_system_health.service_name IS 'Name in service_registry';
COMMENT ON COLUMN v_system_health.status IS 'online, degraded or offline: of the best instance';
COMMENT ON COLUMN v_system_health.version IS 'Version of that instance';
COMMENT ON COLUMN v_system_health.last_heartbeat IS 'Last time that instance was heard of';
COMMENT ON COLUMN v_system_health.seconds_since_heartbeat IS 'Seconds since then';
COMMENT ON COLUMN v_system_health.active_traces IS 'Distinct trace ids in its logs of the last hour';
COMMENT ON COLUMN v_system_health.error_count_1h IS 'Log records of level ERROR in the last hour';
