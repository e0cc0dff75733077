-- Traces from afar. A copy of a pinned trace's span counts only where the span is in no partition any more.

-- name: pinned_any
SELECT FROM pinned_traces LIMIT 1

-- name: pinned
SELECT trace_id FROM pinned_traces WHERE trace_id = ANY(:ids::uuid[])

-- name: summaries
-- One row for each service of a trace. `root` orders what may be its root: rank (0 no parent, 1 its parent is not in the
-- trace, 2 neither), start, filed start, span id; all of them numbers, so that the least of them is found without a sort.
WITH spans AS MATERIALIZED (
    SELECT trace_id, span_id, parent_span_id, service_name, status, start_time, start_ns, duration_ns,
           original_time_unix_nano, original_end_unix_nano
    FROM service_spans
    WHERE trace_id = ANY(:ids::uuid[]) AND start_time >= :lower AND start_time < :upper
    UNION ALL                                                                                      -- when pinned
    SELECT trace_id, span_id, parent_span_id, service_name, status, start_time, start_ns, duration_ns,   -- when pinned
           original_time_unix_nano, original_end_unix_nano                                         -- when pinned
    FROM pinned_spans p                                                                            -- when pinned
    WHERE trace_id = ANY(:pinned::uuid[])                                                          -- when pinned
      AND NOT EXISTS (                                                                             -- when pinned
          SELECT FROM service_spans s                                                              -- when pinned
          WHERE s.trace_id = p.trace_id AND s.span_id = p.span_id AND s.start_time = p.start_time  -- when pinned
            AND s.start_time >= :lower AND s.start_time < :upper                                   -- when pinned
      )                                                                                            -- when pinned
), placed AS (
    SELECT s.trace_id, s.span_id, s.service_name, s.status,
           s.parent_span_id IS NOT NULL AND NOT EXISTS (
               SELECT FROM spans p WHERE p.trace_id = s.trace_id AND p.span_id = s.parent_span_id
           ) AS orphan,
           s.parent_span_id IS NULL AS rootless,
           t.filed, coalesce(s.original_time_unix_nano, t.filed) AS starts,
           coalesce(s.original_end_unix_nano, coalesce(s.original_time_unix_nano, t.filed) + s.duration_ns) AS ends
    FROM spans s
    CROSS JOIN LATERAL (SELECT extract(epoch FROM s.start_time) * 1000000000 + s.start_ns AS filed) t
)
SELECT trace_id, service_name, count(*) AS spans, count(*) FILTER (WHERE status = 'error') AS errors,
       count(*) FILTER (WHERE orphan) AS orphans, trunc(min(starts)) AS starts, trunc(max(ends)) AS ends,
       min(ARRAY[
           CASE WHEN rootless THEN 0 WHEN orphan THEN 1 ELSE 2 END, trunc(starts), trunc(filed),
           ('x' || encode(span_id, 'hex'))::bit(64)::bigint
       ]::numeric[]) AS root
FROM placed
GROUP BY trace_id, service_name

-- name: names
-- The names of spans.
SELECT DISTINCT ON (k.trace_id) k.trace_id, s.operation_name
FROM unnest(:ids::uuid[], :spans::bytea[], :starts::timestamptz[]) AS k (trace_id, span_id, start_time)
JOIN (
    SELECT trace_id, span_id, start_time, operation_name FROM service_spans
    WHERE trace_id = ANY(:ids::uuid[]) AND start_time >= :lower AND start_time < :upper
      AND start_time = ANY(:starts::timestamptz[])
    UNION ALL                                                                                 -- when pinned
    SELECT trace_id, span_id, start_time, operation_name FROM pinned_spans                    -- when pinned
    WHERE trace_id = ANY(:pinned::uuid[]) AND start_time = ANY(:starts::timestamptz[])        -- when pinned
) s ON s.trace_id = k.trace_id AND s.span_id = k.span_id AND s.start_time = k.start_time
ORDER BY k.trace_id
