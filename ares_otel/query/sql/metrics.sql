-- Data points, newest first. A page ends after :limit rows, or earlier where its text passes :max_bytes.

-- name: metrics
SELECT p.*
FROM (
    SELECT l.*,
           sum(l.row_bytes) OVER (ORDER BY l."timestamp" DESC, l.id DESC ROWS UNBOUNDED PRECEDING) AS running_bytes,
           count(*) OVER () AS found
    FROM (
        SELECT f.id, f.service_name, f.metric_name, f.metric_type, f.metric_value, f.labels::text AS labels, f."timestamp",
               f.unit, f.temporality, f.count, f.sum, f.min, f.max, f.tenant_id, f.series_id,
               octet_length(f.labels::text) + octet_length(f.metric_name) + octet_length(f.unit) AS row_bytes
        FROM (
            SELECT *
            FROM service_metrics_between(
                COALESCE(:lower::timestamptz, '-infinity'), COALESCE(:upper::timestamptz, 'infinity')
            )
            WHERE true
              AND "timestamp" < :to_time                                                    -- when to_time
              AND service_name = left(:service, 255)                                        -- when service
              -- The index holds a bounded prefix of the name, so both are asked.
              AND left(metric_name, 255) = left(:metric, 255) AND metric_name = :metric     -- when metric
              AND ("timestamp", id) < (:after_time, :after_id)                              -- when after_time
            ORDER BY "timestamp" DESC, id DESC
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p."timestamp" DESC, p.id DESC
