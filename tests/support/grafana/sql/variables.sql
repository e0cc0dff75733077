-- What the drop-down lists of the dashboards hold.

-- name: services
SELECT service_name FROM service_operations GROUP BY 1 ORDER BY max(last_seen) DESC, 1 LIMIT 1000

-- name: operations
SELECT operation_name FROM service_operations WHERE service_name = '${service}' GROUP BY 1 ORDER BY max(last_seen) DESC, 1 LIMIT 1000

-- name: logging_services
SELECT service_name FROM log_rollups WHERE minute > now() - interval '1 day' GROUP BY 1 ORDER BY 1 LIMIT 1000

-- name: measured_services
SELECT DISTINCT service_name FROM metric_series ORDER BY 1 LIMIT 1000

-- name: metrics
SELECT metric_name FROM metric_series WHERE service_name = '${service}' GROUP BY 1 ORDER BY 1 LIMIT 2000
