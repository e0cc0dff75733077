-- Ares itself, from its own tables. Its counters and gauges are on its page /metrics.

-- name: items_per_second
SELECT $__timeGroup(received_at, '$__interval') AS "time", signal AS metric, sum(accepted)::double precision / ($__interval_ms / 1000.0)::double precision AS "items"
FROM ingest_receipts
WHERE $__timeFilter(received_at)
GROUP BY 1, 2
ORDER BY 1

-- name: requests_per_second
SELECT $__timeGroup(received_at, '$__interval') AS "time", signal AS metric, count(*)::double precision / ($__interval_ms / 1000.0)::double precision AS "requests"
FROM ingest_receipts
WHERE $__timeFilter(received_at)
GROUP BY 1, 2
ORDER BY 1

-- name: seconds_to_store
SELECT $__timeGroup(received_at, '$__interval') AS "time", avg(greatest(extract(epoch FROM stored_at - received_at), 0))::double precision AS "mean",
       max(greatest(extract(epoch FROM stored_at - received_at), 0))::double precision AS "longest"
FROM ingest_receipts
WHERE $__timeFilter(received_at)
GROUP BY 1
ORDER BY 1

-- name: items
SELECT coalesce(sum(accepted), 0)::double precision AS "items"
FROM ingest_receipts
WHERE $__timeFilter(received_at)

-- name: rejected_items
SELECT coalesce(sum(items), 0)::double precision AS "rejected"
FROM ingest_rejected
WHERE $__timeFilter(rejected_at)

-- name: spooled_for
SELECT coalesce(max(extract(epoch FROM now() - oldest_at)), 0)::double precision AS "oldest"
FROM ingest_spools

-- name: rollup_lag
SELECT coalesce((SELECT extract(epoch FROM now() - min(minute)) FROM (SELECT minute FROM span_rollup_increments LIMIT 10000) waiting), 0)::double precision AS "oldest increment"

-- name: map_waits
SELECT count(*) AS "minutes"
FROM service_edge_minutes
WHERE changed_at IS NOT NULL AND minute < now() - interval '2 minutes'

-- name: database_bytes
SELECT pg_database_size(current_database())::double precision AS "bytes"

-- name: connections
SELECT numbackends AS "connections" FROM pg_stat_database WHERE datname = current_database()

-- name: rejected
SELECT max(rejected_at) AS "time", signal AS "signal", service_name AS "service", coalesce(sqlstate, '') AS "sqlstate", left(reason, 300) AS "reason",
       sum(items)::double precision AS "items", bool_and(told) AS "sender told"
FROM ingest_rejected
WHERE $__timeFilter(rejected_at)
GROUP BY signal, service_name, sqlstate, left(reason, 300)
ORDER BY max(rejected_at) DESC
LIMIT 100

-- name: spools
SELECT place AS "place", seen_at AS "reported", oldest_at AS "oldest request",
       coalesce(extract(epoch FROM now() - oldest_at), 0)::double precision AS "age"
FROM ingest_spools
ORDER BY oldest_at NULLS LAST
LIMIT 50

-- name: tables
SELECT t.relname AS "table", count(*) AS "partitions", count(j.sealed_at) AS "sealed", count(j.leaving_since) AS "leaving",
       coalesce(sum(j.failures), 0)::double precision AS "failures", sum(greatest(p.reltuples, 0))::double precision AS "rows",
       sum(pg_total_relation_size(p.oid))::double precision AS "bytes", max(v.rows_per_second) AS "rows a second",
       max(v.length_seconds)::double precision AS "new partitions"
FROM pg_class t
JOIN pg_inherits i ON i.inhparent = t.oid
JOIN pg_class p ON p.oid = i.inhrelid AND p.relkind = 'r'
LEFT JOIN partition_jobs j ON j.partition_name = p.relname
LEFT JOIN partition_volumes v ON v.table_name = t.relname
WHERE t.relkind = 'p' AND t.relnamespace = 'public'::regnamespace
GROUP BY t.relname
ORDER BY sum(pg_total_relation_size(p.oid)) DESC

-- name: table_bytes
SELECT t.relname AS "table", sum(pg_total_relation_size(p.oid))::double precision AS "bytes"
FROM pg_class t
JOIN pg_inherits i ON i.inhparent = t.oid
JOIN pg_class p ON p.oid = i.inhrelid AND p.relkind = 'r'
WHERE t.relkind = 'p' AND t.relnamespace = 'public'::regnamespace
GROUP BY t.relname
ORDER BY 2 DESC

-- name: partitions
SELECT t.relname AS "table", p.relname AS "partition", greatest(p.reltuples, 0)::double precision AS "rows",
       pg_total_relation_size(p.oid)::double precision AS "bytes", j.sealed_at AS "sealed", j.archived_at AS "archived",
       coalesce(j.leaving_reason, '') AS "leaves for", coalesce(j.failures, 0) AS "failures", coalesce(j.last_error, '') AS "last error"
FROM pg_class t
JOIN pg_inherits i ON i.inhparent = t.oid
JOIN pg_class p ON p.oid = i.inhrelid AND p.relkind = 'r'
LEFT JOIN partition_jobs j ON j.partition_name = p.relname
WHERE t.relkind = 'p' AND t.relnamespace = 'public'::regnamespace
ORDER BY coalesce(j.failures, 0) > 0 DESC, p.relname DESC
LIMIT 100

-- name: api_calls
SELECT $__timeGroup(minute, '$__interval') AS "time", operation_name AS metric,
       sum(calls)::double precision / greatest($__interval_ms / 1000.0, 60 * max(minutes))::double precision AS "calls"
FROM span_rollups
WHERE $__timeFilter(minute) AND service_name = 'ares-api' AND kind = 'server'
  AND operation_name IN (
      SELECT operation_name FROM span_rollups
      WHERE $__timeFilter(minute) AND service_name = 'ares-api' AND kind = 'server'
      GROUP BY operation_name ORDER BY sum(calls) DESC LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: api_latency
SELECT "time", p[1] / 1e6 AS "p50", p[2] / 1e6 AS "p95", p[3] / 1e6 AS "p99"
FROM (
    SELECT "time", rollup_percentiles(array_agg(bucket ORDER BY bucket), array_agg(spans ORDER BY bucket), max(highest)) AS p
    FROM (
        SELECT $__timeGroup(r.minute, '$__interval') AS "time", h.bucket, sum(h.spans)::bigint AS spans, max(r.duration_ns_max) AS highest
        FROM span_rollups r CROSS JOIN LATERAL unnest(r.buckets, r.counts) AS h (bucket, spans)
        WHERE $__timeFilter(r.minute) AND r.service_name = 'ares-api' AND r.kind = 'server'
        GROUP BY 1, 2
    ) merged
    GROUP BY "time"
) found
ORDER BY "time"

-- name: own_records
SELECT "timestamp" AS "time", log_level AS "level", left(message, 2000) AS "message", left(metadata::text, 1000) AS "attributes"
FROM service_logs
WHERE service_name = 'ares-api' AND $__timeFilter("timestamp")
ORDER BY "timestamp" DESC
LIMIT 100
