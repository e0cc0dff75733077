-- Traces by the beginning of their ids.

-- name: next_trace
-- The smallest id in a range: one step in the index of each partition, however many spans a trace has. A pinned trace may
-- be in no partition any more.
SELECT trace_id
FROM (
    (SELECT trace_id FROM service_spans WHERE trace_id >= :low AND trace_id <= :high ORDER BY trace_id LIMIT 1)
    UNION ALL
    (SELECT trace_id FROM pinned_spans WHERE trace_id >= :low AND trace_id <= :high ORDER BY trace_id LIMIT 1)
) smallest
ORDER BY trace_id
LIMIT 1
