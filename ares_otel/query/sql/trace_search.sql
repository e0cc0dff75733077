-- One trace, or its part in a range of time. The innermost scans stop after :scan rows: somebody's constant trace id may
-- own the whole table.

-- name: trace_places
-- Whether a range has anything of a trace: planned in half the time that its rows take.
SELECT EXISTS (
           SELECT FROM service_spans
           WHERE trace_id = :trace_id
             AND start_time >= :lower       -- when lower
             AND start_time < :upper        -- when upper
       ) AS spans,
       EXISTS (
           SELECT FROM service_logs
           WHERE trace_id = :trace_id
             AND "timestamp" >= :lower      -- when lower
             AND "timestamp" < :upper       -- when upper
       ) AS logs

-- name: trace_spans
SELECT p.*
FROM (
    SELECT l.*,
           sum(l.row_bytes) OVER (ORDER BY l.start_time, l.start_ns, l.span_id ROWS UNBOUNDED PRECEDING) AS running_bytes,
           count(*) OVER () AS found
    FROM (
        SELECT f.tenant_id, f.trace_id, f.span_id, f.parent_span_id, f.service_name, f.operation_name, f.kind, f.start_time,
               f.start_ns, f.duration_ms, f.duration_ns, f.status, f.status_message, f.status_code,
               f.attributes::text AS attributes, f.events::text AS events, f.links::text AS links, f.trace_state, f.flags,
               f.dropped_attributes_count, f.dropped_events_count, f.dropped_links_count, f.resource_id, f.scope_id,
               f.received_at, f.original_time_unix_nano, f.original_end_unix_nano,
               octet_length(f.operation_name) + octet_length(f.attributes::text) + octet_length(f.events::text)
               + octet_length(f.links::text) + octet_length(concat(f.status_message, f.trace_state)) AS row_bytes
        FROM (
            SELECT *
            FROM (
                SELECT *
                FROM service_spans
                WHERE trace_id = :trace_id
                  AND start_time >= :lower      -- when lower
                  AND start_time < :upper       -- when upper
                  AND (start_time, start_ns) >= (:from_time, :from_ns)  -- when from_time
                  AND (start_time, start_ns) < (:to_time, :to_ns)       -- when to_time
                LIMIT :scan
            ) s
            ORDER BY start_time, start_ns, span_id
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p.start_time, p.start_ns, p.span_id

-- name: trace_logs
SELECT p.*
FROM (
    SELECT l.*,
           sum(l.row_bytes) OVER (ORDER BY l."timestamp", l.timestamp_ns, l.id ROWS UNBOUNDED PRECEDING) AS running_bytes,
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
            FROM (
                SELECT *
                FROM service_logs
                WHERE trace_id = :trace_id
                  AND "timestamp" >= :lower     -- when lower
                  AND "timestamp" < :upper      -- when upper
                  AND ("timestamp", timestamp_ns) >= (:from_time, :from_ns)  -- when from_time
                  AND ("timestamp", timestamp_ns) < (:to_time, :to_ns)       -- when to_time
                LIMIT :scan
            ) s
            ORDER BY "timestamp", timestamp_ns, id
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p."timestamp", p.timestamp_ns, p.id
