-- Roll-ups of services between two minutes: whole hours of what is older than two days, and what is not merged yet.

-- name: waiting
SELECT count(*) AS waiting FROM (SELECT FROM span_rollup_increments LIMIT :most_waiting) w

-- name: counts
SELECT minute, minutes, service_name, operation_name, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors
FROM (
    SELECT minute, minutes, service_name, CASE WHEN :by_operation::boolean THEN operation_name END AS operation_name, calls, errors
    FROM span_rollups
    WHERE minute < :end::timestamptz
      AND minute >= :recent  -- when recent
      AND minute >= :old::timestamptz - interval '59 minutes' AND (minutes = 60 OR minute >= :old)  -- when old
      AND service_name = ANY (:services::text[])
      AND kind = ANY (:kinds::text[])  -- when kinds
    UNION ALL
    SELECT minute, 1, service_name, CASE WHEN :by_operation THEN operation_name END, calls, errors
    FROM span_rollup_increments
    WHERE minute >= :start::timestamptz AND minute < :end AND service_name = ANY (:services)
      AND kind = ANY (:kinds)  -- when kinds
) r
GROUP BY minute, minutes, service_name, operation_name
ORDER BY minute
LIMIT :limit

-- name: histograms
SELECT minute, minutes, service_name, operation_name, duration_ns_max, array_send(buckets) AS buckets, array_send(counts) AS counts
FROM (
    SELECT minute, minutes, service_name, operation_name, duration_ns_max, buckets, counts
    FROM span_rollups
    WHERE minute < :end::timestamptz
      AND minute >= :recent  -- when recent
      AND minute >= :old::timestamptz - interval '59 minutes' AND (minutes = 60 OR minute >= :old)  -- when old
      AND service_name = ANY (:services::text[])
      AND kind = ANY (:kinds::text[])  -- when kinds
    UNION ALL
    SELECT minute, 1, service_name, operation_name, duration_ns_max, buckets, counts
    FROM span_rollup_increments
    WHERE minute >= :start::timestamptz AND minute < :end AND service_name = ANY (:services)
      AND kind = ANY (:kinds)  -- when kinds
) r
ORDER BY minute
LIMIT :limit
