-- name: records_by_level
SELECT $__timeGroup(minute, '$__interval') AS "time",
       CASE WHEN '*' = ANY (ARRAY[$level]::text[]) OR 'ERROR' = ANY (ARRAY[$level]::text[]) THEN sum(error)::double precision END AS "ERROR",
       CASE WHEN '*' = ANY (ARRAY[$level]::text[]) OR 'WARN' = ANY (ARRAY[$level]::text[]) THEN sum(warn)::double precision END AS "WARN",
       CASE WHEN '*' = ANY (ARRAY[$level]::text[]) OR 'INFO' = ANY (ARRAY[$level]::text[]) THEN sum(info)::double precision END AS "INFO",
       CASE WHEN '*' = ANY (ARRAY[$level]::text[]) OR 'DEBUG' = ANY (ARRAY[$level]::text[]) THEN sum(debug)::double precision END AS "DEBUG"
FROM log_rollups
WHERE $__timeFilter(minute)
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
GROUP BY 1
ORDER BY 1

-- name: records
SELECT "timestamp" AS "time", log_level AS "level", service_name AS "service", left(message, 2000) AS "message", event_name AS "event",
       left(metadata::text, 1000) AS "attributes", coalesce(replace(trace_id::text, '-', ''), '') AS "trace"
FROM service_logs
WHERE $__timeFilter("timestamp")
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
  AND ('*' = ANY (ARRAY[$level]::text[]) OR log_level = ANY (ARRAY[$level]::text[]))
  AND ('${text}' = '' OR strpos(lower(message), lower('${text}')) > 0)
  AND ('${trace_id}' = '' OR trace_id = nullif('${trace_id}', '')::uuid)
ORDER BY "timestamp" DESC, timestamp_ns DESC, id DESC
LIMIT 500

-- name: messages
SELECT level AS "level", service AS "service", message AS "message", count(*) AS "records", max(newest) AS "newest"
FROM (
    SELECT log_level AS level, service_name AS service, left(message, 500) AS message, "timestamp" AS newest
    FROM service_logs
    WHERE $__timeFilter("timestamp")
      AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
      AND ('*' = ANY (ARRAY[$level]::text[]) OR log_level = ANY (ARRAY[$level]::text[]))
      AND ('${text}' = '' OR strpos(lower(message), lower('${text}')) > 0)
      AND ('${trace_id}' = '' OR trace_id = nullif('${trace_id}', '')::uuid)
    ORDER BY "timestamp" DESC, timestamp_ns DESC, id DESC
    LIMIT 5000
) latest
GROUP BY 1, 2, 3
ORDER BY count(*) DESC
LIMIT 50

-- name: services
SELECT service_name AS "service", sum(error)::double precision AS "ERROR", sum(warn)::double precision AS "WARN",
       sum(info)::double precision AS "INFO", sum(debug)::double precision AS "DEBUG"
FROM log_rollups
WHERE $__timeFilter(minute)
  AND ('*' = ANY (ARRAY[$service]::text[]) OR service_name = ANY (ARRAY[$service]::text[]))
GROUP BY service_name
ORDER BY sum(error) DESC, sum(warn) DESC
LIMIT 50
