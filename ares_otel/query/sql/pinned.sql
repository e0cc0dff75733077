-- Traces that somebody pins: docs/pinned-traces.md.

-- name: lock
SELECT pg_advisory_xact_lock(:key), set_config('statement_timeout', :timeout, true)

-- name: bounds
-- What is pinned, and how much may be: the settings of ares-api, where they hold numbers.
SELECT p.traces, p.bytes, c.max_traces, c.max_bytes
FROM (SELECT count(*) AS traces, COALESCE(sum(bytes), 0)::bigint AS bytes FROM pinned_traces) p
CROSS JOIN (
    SELECT max(number) FILTER (WHERE config_key = 'retention.pinned.max_traces') AS max_traces,
           max(number) FILTER (WHERE config_key = 'retention.pinned.max_bytes') AS max_bytes
    FROM (
        SELECT config_key,
               CASE WHEN jsonb_typeof(config_value) = 'number' THEN trunc((config_value #>> '{}')::numeric) END AS number
        FROM service_config
        WHERE service_name = 'ares-api' AND config_key IN ('retention.pinned.max_traces', 'retention.pinned.max_bytes')
    ) given
) c

-- name: one
SELECT tenant_id, trace_id, pinned_at, pinned_by, first_time, last_time, spans, logs, bytes, left_out
FROM pinned_traces
WHERE trace_id = :trace_id AND tenant_id = :tenant_id

-- name: page
-- The latest first. Pins take turns, so that no two have the same time.
SELECT tenant_id, trace_id, pinned_at, pinned_by, first_time, last_time, spans, logs, bytes, left_out
FROM pinned_traces
WHERE pinned_at < :after_time       -- when after_time
ORDER BY pinned_at DESC
LIMIT :limit

-- name: weigh_spans
SELECT count(*) AS rows, COALESCE(sum(pg_column_size(r)), 0)::bigint AS bytes
FROM (
    SELECT *
    FROM service_spans
    WHERE tenant_id = :tenant_id AND trace_id = :trace_id
      AND start_time >= :lower      -- when lower
      AND start_time < :upper       -- when upper
    LIMIT :most
) r

-- name: weigh_logs
SELECT count(*) AS rows, COALESCE(sum(pg_column_size(r)), 0)::bigint AS bytes
FROM (
    SELECT *
    FROM service_logs
    WHERE tenant_id = :tenant_id AND trace_id = :trace_id
      AND "timestamp" >= :lower     -- when lower
      AND "timestamp" < :upper      -- when upper
    LIMIT :most
) r

-- name: copy_spans
-- The copies have the columns of the table, in its order.
INSERT INTO pinned_spans
SELECT *
FROM service_spans
WHERE tenant_id = :tenant_id AND trace_id = :trace_id
  AND start_time >= :lower      -- when lower
  AND start_time < :upper       -- when upper

-- name: copy_logs
INSERT INTO pinned_logs
SELECT *
FROM service_logs
WHERE tenant_id = :tenant_id AND trace_id = :trace_id
  AND "timestamp" >= :lower     -- when lower
  AND "timestamp" < :upper      -- when upper

-- name: pin
-- For a trace that has copies.
INSERT INTO pinned_traces (tenant_id, trace_id, pinned_at, pinned_by, first_time, last_time, spans, logs, bytes)
SELECT :tenant_id, :trace_id, clock_timestamp(), :pinned_by::text, least(s.first, l.first), greatest(s.last, l.last),
       s.rows, l.rows, s.bytes + l.bytes
FROM (
    SELECT count(*) AS rows, COALESCE(sum(pg_column_size(c.*)), 0)::bigint AS bytes,
           min(start_time) AS first, max(start_time) AS last
    FROM pinned_spans c
    WHERE tenant_id = :tenant_id AND trace_id = :trace_id
) s
CROSS JOIN (
    SELECT count(*) AS rows, COALESCE(sum(pg_column_size(c.*)), 0)::bigint AS bytes,
           min("timestamp") AS first, max("timestamp") AS last
    FROM pinned_logs c
    WHERE tenant_id = :tenant_id AND trace_id = :trace_id
) l
WHERE s.rows + l.rows > 0
RETURNING tenant_id, trace_id, pinned_at, pinned_by, first_time, last_time, spans, logs, bytes, left_out

-- name: unpin
DELETE FROM pinned_traces
WHERE trace_id = :trace_id AND tenant_id = :tenant_id
RETURNING tenant_id, trace_id, pinned_at, pinned_by, first_time, last_time, spans, logs, bytes, left_out

-- name: unpin_spans
DELETE FROM pinned_spans WHERE trace_id = :trace_id AND tenant_id = :tenant_id

-- name: unpin_logs
DELETE FROM pinned_logs WHERE trace_id = :trace_id AND tenant_id = :tenant_id
