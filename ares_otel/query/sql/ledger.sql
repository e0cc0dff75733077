-- Receipts against rows, by receive time: a receipt has the same microseconds as the rows of its request, and is written in
-- the same transaction. Rows without a resource were not made by a request: somebody inserted them with SQL.

-- name: oldest
-- Receipts are pruned after so many hours. A retry of what was refused long ago has a receipt, and rows, of that time: they
-- are left out, for the receipts around them are gone.
SELECT greatest(
           (SELECT min(received_at) FROM ingest_receipts),
           now() - COALESCE((
               SELECT CASE WHEN jsonb_typeof(config_value) = 'number' THEN config_value::double precision END
               FROM service_config WHERE service_name = 'ares-api' AND config_key = 'receipts.hours'
           ), 24) * interval '1 hour'
       ) AS received_at
WHERE EXISTS (SELECT FROM ingest_receipts)

-- name: floors
-- Where rows were dropped: before a floor moved, and shortly after, late rows went where they are no more.
SELECT table_name, moved_at + interval '2 minutes' AS settled_at FROM partition_floors

-- name: packed_since
SELECT max(last_received_at) AS last_received_at FROM metric_packs

-- name: receipts
SELECT count(*) AS requests, coalesce(sum(accepted - rejected_later), 0)::bigint AS items
FROM ingest_receipts
WHERE signal = :signal AND received_at >= :since

-- name: traces
SELECT count(*) FILTER (WHERE resource_id IS NOT NULL) AS items, count(*) FILTER (WHERE resource_id IS NULL) AS by_sql
FROM service_spans
WHERE received_at >= :since

-- name: logs
SELECT count(*) FILTER (WHERE resource_id IS NOT NULL) AS items, count(*) FILTER (WHERE resource_id IS NULL) AS by_sql
FROM service_logs
WHERE received_at >= :since

-- name: metrics
SELECT coalesce(sum(p.points) FILTER (WHERE s.series_id IS NULL OR s.resource_id IS NOT NULL), 0)::bigint AS items,
       coalesce(sum(p.points) FILTER (WHERE s.series_id IS NOT NULL AND s.resource_id IS NULL), 0)::bigint AS by_sql
FROM (
    SELECT tenant_id, series_id, count(*) AS points FROM metric_samples WHERE received_at >= :since GROUP BY 1, 2
    UNION ALL
    -- Packs tell the second of the receipt, and :since begins one where there are any.
    SELECT k.tenant_id, k.series_id, count(*) AS points
    FROM metric_packs k CROSS JOIN LATERAL unpacked(k) u
    WHERE k.last_received_at >= :since AND u.received_at >= :since GROUP BY 1, 2
    UNION ALL
    -- What was left out as a duplicate had been stored as well.
    SELECT k.tenant_id, k.series_id, count(*) AS points
    FROM metric_packs k CROSS JOIN LATERAL unnest(k.duplicates) AS d (received_at)
    WHERE k.last_received_at >= :since AND d.received_at >= :since GROUP BY 1, 2
    UNION ALL
    SELECT tenant_id, series_id, count(*) AS points FROM metric_distributions WHERE received_at >= :since GROUP BY 1, 2
) p
LEFT JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id
