-- Samples of given series without a row for each of them: a text of bytes for each series, which the client takes as an
-- array. Times are microseconds since 2000, numbers have their most significant byte first.

-- name: numbers
-- `n` is the place of the series in :series. At most :limit samples are looked at, in no order.
SELECT n,
       string_agg(
           timestamptz_send("timestamp")
           -- What a point without a recorded value is for Prometheus.
           || COALESCE(float8send(value), '\x7ff0000000000002')
           || int8send(id)                                                                -- when with_ids
           , ''::bytea
       ) AS samples
FROM (
    SELECT s.n, m."timestamp", m.value, m.id
    FROM unnest(:series::uuid[]) WITH ORDINALITY AS s (series_id, n)
    JOIN metric_samples m ON m.series_id = s.series_id
    WHERE m.tenant_id = 0 AND m."timestamp" >= :lower AND m."timestamp" < :upper
    LIMIT :limit
) found
GROUP BY n

-- name: newest_numbers
-- Of several in the newest millisecond the first counts.
SELECT s.n, timestamptz_send(p."timestamp") || COALESCE(float8send(p.value), '\x7ff0000000000002') AS samples
FROM unnest(:series::uuid[]) WITH ORDINALITY AS s (series_id, n)
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', m."timestamp") AS since
    FROM metric_samples m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" >= :lower AND m."timestamp" < :upper
    ORDER BY m."timestamp" DESC
    LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT m."timestamp", m.value
    FROM metric_samples m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id
      AND m."timestamp" >= newest.since AND m."timestamp" < newest.since + interval '1 millisecond'
    ORDER BY m.id
    LIMIT 1
) p

-- name: distributions
-- With what restores a point. Of several in a millisecond the first counts.
SELECT DISTINCT ON (s.n, date_trunc('milliseconds', m."timestamp"))
       s.n + :first::bigint - 1 AS n, m.series_id, m.count, m.sum, m.min, m.max, m.explicit_bounds, m.bucket_counts, m.scale, m.zero_count,
       m.zero_threshold, m.positive_offset, m.positive_counts, m.negative_offset, m.negative_counts, m.quantiles,
       m.quantile_values, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags,
       m.exemplars::text AS exemplars, m.point_raw, m.original_time_unix_nano
FROM unnest(:series::uuid[]) WITH ORDINALITY AS s (series_id, n)
JOIN metric_distributions m ON m.series_id = s.series_id
WHERE m.tenant_id = 0 AND m."timestamp" >= :lower AND m."timestamp" < :upper
ORDER BY s.n, date_trunc('milliseconds', m."timestamp"), m.id
LIMIT :limit
