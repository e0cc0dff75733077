-- What is known of services for their sampling, and what adaptive sampling writes.

-- name: kinds
SELECT s.service_name, o.operation_name, o.kind
FROM unnest(:services::text[]) AS s (service_name)
CROSS JOIN LATERAL (
    SELECT operation_name, kind FROM service_operations
    WHERE tenant_id = 0 AND service_name = s.service_name
    ORDER BY last_seen DESC, operation_name LIMIT :most::integer
) o

-- name: computed
SELECT s.service_name, o.operation_name, o.probability
FROM unnest(:services::text[]) AS s (service_name)
CROSS JOIN LATERAL (
    SELECT operation_name, probability FROM sampling_operations
    WHERE service_name = s.service_name
    ORDER BY last_seen DESC, operation_name LIMIT :most::integer
) o

-- name: operations
SELECT operation_name, probability, changed_at, least_in_use, most_in_use, sampled_per_second, offered_per_second,
       measured_at, last_seen
FROM sampling_operations
WHERE service_name = :service
ORDER BY last_seen DESC, operation_name LIMIT :most::integer

-- name: changes
SELECT id, operation_name, old_probability, new_probability, sampled_per_second, offered_per_second, target_per_second,
       changed_at
FROM sampling_changes
WHERE service_name = :service
ORDER BY id DESC LIMIT :most::integer

-- name: observed
-- Root spans that came in a time, by operation, by the chance that they say they had, by part of the time, and by whether
-- they began when every client had followed the last change. The newest spans are looked at first: where there are more
-- than :most, the time begins later.
WITH looked AS MATERIALIZED (
    SELECT left(operation_name, 255) AS operation_name, kind, start_time,
           CASE WHEN :by_start::boolean THEN start_time ELSE received_at END AS at,
           parent_span_id IS NULL AS is_root,
           CASE WHEN parent_span_id IS NULL THEN
               coalesce(attributes->>'jaeger.sampler.type', attributes->>'sampler.type') END AS sampler,
           CASE WHEN parent_span_id IS NULL THEN
               coalesce(attributes->>'jaeger.sampler.param', attributes->>'sampler.param') END AS parameter,
           CASE WHEN parent_span_id IS NULL THEN
               substring(trace_state from '(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})(?:[;,\s]|$)') END AS threshold
    FROM service_spans
    WHERE service_name = :service AND tenant_id = 0
      AND start_time >= :first::timestamptz AND start_time < :last::timestamptz
    ORDER BY start_time DESC LIMIT :most::integer
), span AS (
    SELECT greatest(:since::timestamptz, CASE WHEN count(*) = :most::integer THEN min(start_time) END) AS since,
           count(*) = :most::integer AS is_part
    FROM looked
), follows (operation_name, at) AS (
    SELECT * FROM unnest(:names::text[], :at::timestamptz[])
), found AS (
    SELECT l.operation_name, left(l.sampler, 20) AS sampler, left(l.parameter, 30) AS parameter, l.threshold,
           width_bucket(extract(epoch FROM l.at), extract(epoch FROM span.since),
                        extract(epoch FROM :until::timestamptz), :slices::integer) AS slice,
           l.start_time >= coalesce(f.at, :otherwise_at::timestamptz)
               AND l.at >= coalesce(f.at, :otherwise_at::timestamptz) + :arriving::interval AS followed,
           array_agg(DISTINCT l.kind) AS kinds, count(*) AS roots
    FROM looked l
    CROSS JOIN span
    LEFT JOIN follows f ON f.operation_name = l.operation_name
    WHERE l.is_root AND l.at >= span.since AND l.at < :until::timestamptz
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY roots DESC LIMIT 50000
)
SELECT span.since, span.is_part, found.*
FROM span LEFT JOIN found ON true

-- name: write_operations
INSERT INTO sampling_operations (service_name, operation_name, probability, changed_at, least_in_use, most_in_use,
                                 sampled_per_second, offered_per_second, measured_at, last_seen)
SELECT :service::text, n.operation_name, n.probability, n.changed_at, n.least, n.most, n.sampled, n.offered,
       :now::timestamptz, n.last_seen
FROM unnest(:names::text[], :probabilities::float8[], :changed::timestamptz[], :least::float8[], :most::float8[],
            :sampled::float8[], :offered::float8[], :seen::timestamptz[])
     AS n (operation_name, probability, changed_at, least, most, sampled, offered, last_seen)
ON CONFLICT (service_name, operation_name) DO UPDATE SET
    probability = excluded.probability,
    changed_at = excluded.changed_at,
    least_in_use = excluded.least_in_use,
    most_in_use = excluded.most_in_use,
    sampled_per_second = excluded.sampled_per_second,
    offered_per_second = excluded.offered_per_second,
    measured_at = excluded.measured_at,
    last_seen = excluded.last_seen

-- name: write_changes
INSERT INTO sampling_changes (service_name, operation_name, old_probability, new_probability, sampled_per_second,
                              offered_per_second, target_per_second, changed_at)
SELECT :service::text, n.operation_name, n.old, n.new, n.sampled, n.offered, :target::float8, :now::timestamptz
FROM unnest(:names::text[], :old::float8[], :new::float8[], :sampled::float8[], :offered::float8[])
     AS n (operation_name, old, new, sampled, offered)

-- name: forget_operations
DELETE FROM sampling_operations WHERE last_seen < :before::timestamptz

-- name: forget_changes
DELETE FROM sampling_changes WHERE changed_at < :before::timestamptz
