-- Log records, newest first. A page ends after :limit rows, or earlier where its text passes :max_bytes.

-- name: logs
SELECT p.*
FROM (
    SELECT l.*,
           sum(l.row_bytes) OVER (ORDER BY l."timestamp" DESC, l.timestamp_ns DESC, l.id DESC ROWS UNBOUNDED PRECEDING) AS running_bytes,
           count(*) OVER () AS found
    FROM (
        SELECT f.tenant_id, f.id, f.trace_id, f.span_id, f.parent_span_id, f.service_name, f.log_level, f.severity_number,
               f.severity_text, f.message, f.body::text AS body, f.metadata::text AS metadata, f."timestamp",
               f.timestamp_ns, f.observed_timestamp, f.observed_ns, f.source_file, f.source_line, f.event_name, f.flags,
               f.dropped_attributes_count, f.resource_id, f.scope_id, f.received_at, f.original_time_unix_nano,
               octet_length(f.metadata::text) + octet_length(COALESCE(f.message, '')) + octet_length(COALESCE(f.body::text, ''))
               + octet_length(concat(f.severity_text, f.source_file, f.event_name)) AS row_bytes
        FROM (
            SELECT *
            FROM service_logs
            WHERE true
              AND service_name = left(:service, 255)                                        -- when service
              AND log_level = :level                                                        -- when level
              AND trace_id = :trace_id                                                      -- when trace_id
              AND message ILIKE :pattern                                                    -- when pattern
              -- The plain comparisons let partitions be left out, which comparisons of rows do not.
              AND "timestamp" >= :lower                                                     -- when lower
              AND "timestamp" < :upper                                                      -- when upper
              AND ("timestamp", timestamp_ns) >= (:from_time, :from_ns)                     -- when from_time
              AND ("timestamp", timestamp_ns) < (:to_time, :to_ns)                          -- when to_time
              AND ("timestamp", timestamp_ns, id) < (:after_time, :after_ns, :after_id)     -- when after_time
            ORDER BY "timestamp" DESC, timestamp_ns DESC, id DESC
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p."timestamp" DESC, p.timestamp_ns DESC, p.id DESC
