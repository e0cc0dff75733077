-- Spans, newest first. A page ends after :limit rows, or earlier where its text passes :max_bytes.

-- name: spans
SELECT p.*
FROM (
    SELECT l.*,
           sum(l.row_bytes) OVER (
               ORDER BY l.start_time DESC, l.start_ns DESC, l.trace_id DESC, l.span_id DESC ROWS UNBOUNDED PRECEDING
           ) AS running_bytes,
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
            FROM service_spans
            WHERE true
              AND service_name = left(:service, 255)                                  -- when service
              AND operation_name = :operation                                         -- when operation
              AND kind = :kind                                                        -- when kind
              AND status = :status                                                    -- when status
              -- The second line of each is what the index of sealed partitions holds: see `storage/partitions/seal.py`.
              AND duration_ns >= :min_ns                                              -- when min_ns
              AND (floor(4 * ln(greatest(duration_ns, 1)::double precision))::smallint) >= floor(4 * ln(greatest(:min_ns::bigint, 1)::double precision))::smallint  -- when min_ns
              AND duration_ns <= :max_ns                                              -- when max_ns
              AND (floor(4 * ln(greatest(duration_ns, 1)::double precision))::smallint) <= floor(4 * ln(greatest(:max_ns::bigint, 1)::double precision))::smallint  -- when max_ns
              AND attributes @> :exact::jsonb                                         -- when exact
              -- What looks like a number may have been sent as text: each of these has two readings.
              AND (attributes @> :one::jsonb OR attributes @> :one_more::jsonb)       -- when one
              AND (attributes @> :two::jsonb OR attributes @> :two_more::jsonb)       -- when two
              AND (attributes @> :three::jsonb OR attributes @> :three_more::jsonb)   -- when three
              AND (attributes @> :four::jsonb OR attributes @> :four_more::jsonb)     -- when four
              AND (attributes @> :five::jsonb OR attributes @> :five_more::jsonb)     -- when five
              -- The plain comparisons let partitions be left out, which comparisons of rows do not.
              AND start_time >= :lower                                                -- when lower
              AND start_time < :upper                                                 -- when upper
              AND (start_time, start_ns) >= (:from_time, :from_ns)                    -- when from_time
              AND (start_time, start_ns) < (:to_time, :to_ns)                         -- when to_time
              AND (start_time, start_ns, trace_id, span_id) < (:after_time, :after_ns, :after_trace, :after_span)  -- when after_time
            ORDER BY start_time DESC, start_ns DESC, trace_id DESC, span_id DESC
            LIMIT :limit
        ) f
    ) l
) p
WHERE p.running_bytes - p.row_bytes < :max_bytes
ORDER BY p.start_time DESC, p.start_ns DESC, p.trace_id DESC, p.span_id DESC
