-- Samples of given series without a row for each of them: a text of bytes for each series, which the client takes as an
-- array. Times are microseconds since 2000, numbers have their most significant byte first.
--
-- Rows that are filed under the time at which they came, because no partition has theirs, are no samples: they would be
-- values of a time at which nothing was measured. Those that came without a time are. Neither is ever in a pack.

-- name: numbers
-- At most :limit samples are looked at, in no order. No join: with many series the server reads the table as it lies on
-- the disk, and a series' samples lie far from each other while their partition is open.
SELECT series_id, count(*) AS count,
       string_agg(
           timestamptz_send("timestamp")
           -- What a point without a recorded value is for Prometheus.
           || COALESCE(float8send(value), '\x7ff0000000000002')
           || int2send(timestamp_ns) || int8send(id)                                      -- when ordered
           , ''::bytea
       ) AS samples
FROM (
    SELECT series_id, "timestamp", timestamp_ns, value, id
    FROM metric_samples
    WHERE tenant_id = 0 AND series_id = ANY (:series::uuid[]) AND "timestamp" >= :lower AND "timestamp" < :upper
      AND COALESCE(original_time_unix_nano, 0) = 0
    LIMIT :limit
) found
GROUP BY series_id

-- name: packs
-- Packs that have samples of the time, as they are; arrays in the form in which the server sends them. No pack is longer
-- than a day.
SELECT k.series_id, k.count, timestamptz_send(k."timestamp") AS first, k.time_step,
       array_send(k.time_shifts) AS time_shifts, array_send(k.time_long_shifts) AS time_long_shifts,
       k.first_number, k.number_step, k.divisor, array_send(k.number_short_shifts) AS number_short_shifts,
       array_send(k.number_shifts) AS number_shifts, array_send(k.number_long_shifts) AS number_long_shifts,
       array_send(k.doubles) AS doubles
       , array_send(k.nanoseconds) AS nanoseconds, k.first_id, k.id_step                  -- when ordered
       , array_send(k.id_shifts) AS id_shifts, array_send(k.id_long_shifts) AS id_long_shifts -- when ordered
FROM metric_packs k
WHERE k.tenant_id = 0 AND k.series_id = ANY (:series::uuid[]) AND k."timestamp" >= :lower::timestamptz - interval '1 day' AND k."timestamp" < :upper
  AND k.last_timestamp >= :lower AND k.count > 0
LIMIT :limit

-- name: newest_numbers
-- Of several in the newest millisecond the first counts.
SELECT s.series_id, timestamptz_send(p."timestamp") || COALESCE(float8send(p.value), '\x7ff0000000000002')
            || int2send(p.timestamp_ns) || int8send(p.id) AS samples
FROM unnest(:series::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', m."timestamp") AS since
    FROM metric_samples m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" >= :lower AND m."timestamp" < :upper
      AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp" DESC
    LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT m."timestamp", m.timestamp_ns, m.value, m.id
    FROM metric_samples m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id
      AND m."timestamp" >= newest.since AND m."timestamp" < newest.since + interval '1 millisecond'
      AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp", m.timestamp_ns, m.id
    LIMIT 1
) p

-- name: newest_packs
-- Packs in which the newest sample of a series may be: those that reach beyond where the latest of them begins.
SELECT k.series_id, k.count, timestamptz_send(k."timestamp") AS first, k.time_step,
       array_send(k.time_shifts) AS time_shifts, array_send(k.time_long_shifts) AS time_long_shifts,
       k.first_number, k.number_step, k.divisor, array_send(k.number_short_shifts) AS number_short_shifts,
       array_send(k.number_shifts) AS number_shifts, array_send(k.number_long_shifts) AS number_long_shifts,
       array_send(k.doubles) AS doubles, array_send(k.nanoseconds) AS nanoseconds, k.first_id, k.id_step,
       array_send(k.id_shifts) AS id_shifts, array_send(k.id_long_shifts) AS id_long_shifts
FROM unnest(:series::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', COALESCE(max(k."timestamp"), :lower::timestamptz)) AS since
    FROM metric_packs k
    WHERE k.tenant_id = 0 AND k.series_id = s.series_id AND k."timestamp" >= :lower AND k."timestamp" < :upper
      AND k.count > 0
) latest
JOIN metric_packs k ON k.series_id = s.series_id
WHERE k.tenant_id = 0 AND k."timestamp" >= :lower::timestamptz - interval '1 day' AND k."timestamp" < :upper
  AND k.last_timestamp >= GREATEST(latest.since, :lower) AND k.count > 0

-- name: distributions
-- With what restores a point. Of several in a millisecond the first counts.
SELECT DISTINCT ON (s.n, date_trunc('milliseconds', m."timestamp"))
       s.n + :first::bigint - 1 AS n, m.series_id, m.count, m.sum, m.min, m.max, m.explicit_bounds, m.bucket_counts,
       m.scale, m.zero_count, m.zero_threshold, m.positive_offset, m.positive_counts, m.negative_offset,
       m.negative_counts, m.quantiles, m.quantile_values, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns,
       m.flags, m.exemplars::text AS exemplars, m.point_raw, m.original_time_unix_nano
FROM unnest(:series::uuid[]) WITH ORDINALITY AS s (series_id, n)
JOIN metric_distributions m ON m.series_id = s.series_id
WHERE m.tenant_id = 0 AND m."timestamp" >= :lower AND m."timestamp" < :upper
  AND COALESCE(m.original_time_unix_nano, 0) = 0
ORDER BY s.n, date_trunc('milliseconds', m."timestamp"), m."timestamp", m.timestamp_ns, m.id
LIMIT :limit
