-- Partitions of the telemetry tables with what the jobs remember of them.

-- name: utc
-- Bounds are printed as the session is set.
SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true), now() AS now

-- name: partitions
SELECT t.table_name, c.relname AS partition_name,
       CASE WHEN i.inhrelid IS NOT NULL THEN pg_get_expr(c.relpartbound, 0) END AS bounds,
       j.range_start, j.range_end,
       i.inhrelid IS NOT NULL AND NOT i.inhdetachpending AS attached,
       pg_total_relation_size(c.oid) AS bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows_estimate,
       j.sealed_at, j.leaving_since, j.leaving_reason, j.archived_at, j.archived_to, j.archived_rows,
       coalesce(j.failures, 0) AS failures, j.failed_at, j.last_error
FROM unnest(:tables::text[]) AS t (table_name)
JOIN pg_class c ON c.oid IN (
    SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(t.table_name)
    UNION
    SELECT to_regclass(quote_ident(partition_name)) FROM partition_jobs
    WHERE table_name = t.table_name AND leaving_since IS NOT NULL
)
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN partition_jobs j ON j.partition_name = c.relname
ORDER BY t.table_name, c.relname
