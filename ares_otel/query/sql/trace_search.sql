-- One trace, or its part in a range of time. The innermost scans stop after :scan rows: somebody's constant trace id may
-- own the whole table. A pinned trace has copies of its rows (docs/pinned-traces.md): one counts only where no row with its
-- time and id is in the partitions any more.

-- name: pinned
-- Where the copies of a pinned trace begin; no row for a trace that is not pinned.
SELECT min(first_time) AS first
FROM pinned_traces
WHERE trace_id = :trace_id
HAVING count(*) > 0

-- name: trace_places
-- Whether a range has anything of a trace: planned in half the time that its rows take.
SELECT EXISTS (
           SELECT FROM service_spans
           WHERE trace_id = :trace_id
             AND start_time >= :lower       -- when lower
             AND start_time < :upper        -- when upper
       )
       OR EXISTS (                                                                            -- when pinned
           SELECT FROM pinned_spans                                                           -- when pinned
           WHERE trace_id = :trace_id                                                         -- when pinned
             AND start_time >= COALESCE(:lower::timestamptz, '-infinity')                     -- when pinned
             AND start_time < COALESCE(:upper::timestamptz, 'infinity')                       -- when pinned
       )                                                                                      -- when pinned
       AS spans,
       EXISTS (
           SELECT FROM service_logs
           WHERE trace_id = :trace_id
             AND "timestamp" >= :lower      -- when lower
             AND "timestamp" < :upper       -- when upper
       )
       OR EXISTS (                                                                            -- when pinned
           SELECT FROM pinned_logs                                                            -- when pinned
           WHERE trace_id = :trace_id                                                         -- when pinned
             AND "timestamp" >= COALESCE(:lower::timestamptz, '-infinity')                    -- when pinned
             AND "timestamp" < COALESCE(:upper::timestamptz, 'infinity')                      -- when pinned
       )                                                                                      -- when pinned
       AS logs

-- name: trace_firsts
-- The same with the earliest and the latest of them, as far as :scan rows tell it.
SELECT s.first AS first_span, s.last AS last_span, s.found AS spans,
       l.first AS first_log, l.last AS last_log, l.found AS logs
FROM (
    SELECT min(start_time) AS first, max(start_time) AS last, count(*) AS found
    FROM (
        (SELECT start_time
         FROM service_spans
         WHERE trace_id = :trace_id
           AND start_time >= :lower     -- when lower
           AND start_time < :upper      -- when upper
           AND (start_time, start_ns) >= (:from_time, :from_ns)  -- when from_time
           AND (start_time, start_ns) < (:to_time, :to_ns)       -- when to_time
         LIMIT :scan)
        UNION ALL                                                                             -- when pinned
        (SELECT start_time                                                                    -- when pinned
         FROM pinned_spans                                                                    -- when pinned
         WHERE trace_id = :trace_id                                                           -- when pinned
           AND start_time >= COALESCE(:lower::timestamptz, '-infinity')                       -- when pinned
           AND start_time < COALESCE(:upper::timestamptz, 'infinity')                         -- when pinned
           AND (start_time, start_ns)                                                     -- when pinned
               >= (COALESCE(:from_time::timestamptz, '-infinity'), COALESCE(:from_ns::integer, 0))  -- when pinned
           AND (start_time, start_ns)                                                     -- when pinned
               < (COALESCE(:to_time::timestamptz, 'infinity'), COALESCE(:to_ns::integer, 0))  -- when pinned
         LIMIT :scan)                                                                         -- when pinned
    ) r
) s
CROSS JOIN (
    SELECT min("timestamp") AS first, max("timestamp") AS last, count(*) AS found
    FROM (
        (SELECT "timestamp"
         FROM service_logs
         WHERE trace_id = :trace_id
           AND "timestamp" >= :lower    -- when lower
           AND "timestamp" < :upper     -- when upper
           AND ("timestamp", timestamp_ns) >= (:from_time, :from_ns)  -- when from_time
           AND ("timestamp", timestamp_ns) < (:to_time, :to_ns)       -- when to_time
         LIMIT :scan)
        UNION ALL                                                                             -- when pinned
        (SELECT "timestamp"                                                                   -- when pinned
         FROM pinned_logs                                                                     -- when pinned
         WHERE trace_id = :trace_id                                                           -- when pinned
           AND "timestamp" >= COALESCE(:lower::timestamptz, '-infinity')                      -- when pinned
           AND "timestamp" < COALESCE(:upper::timestamptz, 'infinity')                        -- when pinned
           AND ("timestamp", timestamp_ns)                                                -- when pinned
               >= (COALESCE(:from_time::timestamptz, '-infinity'), COALESCE(:from_ns::integer, 0))  -- when pinned
           AND ("timestamp", timestamp_ns)                                                -- when pinned
               < (COALESCE(:to_time::timestamptz, 'infinity'), COALESCE(:to_ns::integer, 0))  -- when pinned
         LIMIT :scan)                                                                         -- when pinned
    ) r
) l

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
                (SELECT *
                 FROM service_spans
                 WHERE trace_id = :trace_id
                   AND start_time >= :lower      -- when lower
                   AND start_time < :upper       -- when upper
                   AND (start_time, start_ns) >= (:from_time, :from_ns)  -- when from_time
                   AND (start_time, start_ns) < (:to_time, :to_ns)       -- when to_time
                 LIMIT :scan)
                UNION ALL                                                                         -- when pinned
                (SELECT *                                                                         -- when pinned
                 FROM pinned_spans p                                                              -- when pinned
                 WHERE trace_id = :trace_id                                                       -- when pinned
                   AND start_time >= COALESCE(:lower::timestamptz, '-infinity')                   -- when pinned
                   AND start_time < COALESCE(:upper::timestamptz, 'infinity')                     -- when pinned
                   AND (start_time, start_ns) >= (COALESCE(:from_time::timestamptz, '-infinity'), COALESCE(:from_ns::integer, 0))  -- when pinned
                   AND (start_time, start_ns) < (COALESCE(:to_time::timestamptz, 'infinity'), COALESCE(:to_ns::integer, 0))  -- when pinned
                   AND NOT EXISTS (                                                               -- when pinned
                       SELECT FROM service_spans s                                                -- when pinned
                       WHERE s.trace_id = :trace_id                                               -- when pinned
                         AND s.start_time >= COALESCE(:lower::timestamptz, '-infinity')           -- when pinned
                         AND s.start_time < COALESCE(:upper::timestamptz, 'infinity')             -- when pinned
                         AND (s.start_time, s.start_ns, s.span_id) = (p.start_time, p.start_ns, p.span_id)  -- when pinned
                   )                                                                              -- when pinned
                 LIMIT :scan)                                                                     -- when pinned
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
                (SELECT *
                 FROM service_logs
                 WHERE trace_id = :trace_id
                   AND "timestamp" >= :lower     -- when lower
                   AND "timestamp" < :upper      -- when upper
                   AND ("timestamp", timestamp_ns) >= (:from_time, :from_ns)  -- when from_time
                   AND ("timestamp", timestamp_ns) < (:to_time, :to_ns)       -- when to_time
                 LIMIT :scan)
                UNION ALL                                                                         -- when pinned
                (SELECT *                                                                         -- when pinned
                 FROM pinned_logs p                                                               -- when pinned
                 WHERE trace_id = :trace_id                                                       -- when pinned
                   AND "timestamp" >= COALESCE(:lower::timestamptz, '-infinity')                  -- when pinned
                   AND "timestamp" < COALESCE(:upper::timestamptz, 'infinity')                    -- when pinned
                   AND ("timestamp", timestamp_ns) >= (COALESCE(:from_time::timestamptz, '-infinity'), COALESCE(:from_ns::integer, 0))  -- when pinned
                   AND ("timestamp", timestamp_ns) < (COALESCE(:to_time::timestamptz, 'infinity'), COALESCE(:to_ns::integer, 0))  -- when pinned
                   AND NOT EXISTS (                                                               -- when pinned
                       SELECT FROM service_logs s                                                 -- when pinned
                       WHERE s.trace_id = :trace_id                                               -- when pinned
                         AND s."timestamp" >= COALESCE(:lower::timestamptz, '-infinity')          -- when pinned
                         AND s."timestamp" < COALESCE(:upper::timestamptz, 'infinity')            -- when pinned
                         AND (s."timestamp", s.timestamp_ns, s.id) = (p."timestamp", p.timestamp_ns, p.id)  -- when pinned
                   )                                                                              -- when pinned
                 LIMIT :scan)                                                                     -- when pinned
            ) s
            ORDER BY "timestamp", timestamp_ns, id
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p."timestamp", p.timestamp_ns, p.id

-- name: stream_spans
-- Whole rows in the order of their start, for a cursor.
SELECT r.*
FROM (
    SELECT *
    FROM service_spans
    WHERE trace_id = :trace_id
      AND start_time >= :lower      -- when lower
      AND start_time < :upper       -- when upper
      AND (start_time, start_ns) >= (:from_time, :from_ns)  -- when from_time
      AND (start_time, start_ns) < (:to_time, :to_ns)       -- when to_time
    UNION ALL                                                                                         -- when pinned
    SELECT *                                                                                          -- when pinned
    FROM pinned_spans p                                                                               -- when pinned
    WHERE trace_id = :trace_id                                                                        -- when pinned
      AND start_time >= COALESCE(:lower::timestamptz, '-infinity')                                    -- when pinned
      AND start_time < COALESCE(:upper::timestamptz, 'infinity')                                      -- when pinned
      AND (start_time, start_ns) >= (COALESCE(:from_time::timestamptz, '-infinity'), COALESCE(:from_ns::integer, 0))  -- when pinned
      AND (start_time, start_ns) < (COALESCE(:to_time::timestamptz, 'infinity'), COALESCE(:to_ns::integer, 0))  -- when pinned
      AND NOT EXISTS (                                                                                -- when pinned
          SELECT FROM service_spans s                                                                 -- when pinned
          WHERE s.trace_id = :trace_id                                                                -- when pinned
            AND s.start_time >= COALESCE(:lower::timestamptz, '-infinity')                            -- when pinned
            AND s.start_time < COALESCE(:upper::timestamptz, 'infinity')                              -- when pinned
            AND (s.start_time, s.start_ns, s.span_id) = (p.start_time, p.start_ns, p.span_id)         -- when pinned
      )                                                                                               -- when pinned
) r
ORDER BY r.start_time, r.start_ns, r.span_id, r.received_at

-- name: stream_resources
SELECT *
FROM otel_resources
WHERE tenant_id = ANY (:tenants::integer[]) AND resource_id = ANY (:ids::uuid[])

-- name: stream_scopes
SELECT *
FROM otel_scopes
WHERE tenant_id = ANY (:tenants::integer[]) AND scope_id = ANY (:ids::uuid[])
