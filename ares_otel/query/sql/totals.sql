-- What series of deltas counted altogether.

-- name: totals
SELECT series_id, since, value, count, sum, scale, zero_count, zero_threshold, too_large,
       CASE WHEN NOT too_large THEN explicit_bounds END AS explicit_bounds,
       CASE WHEN NOT too_large THEN bucket_counts END AS bucket_counts,
       CASE WHEN :buckets AND NOT too_large THEN positive_offset END AS positive_offset,
       CASE WHEN :buckets AND NOT too_large THEN positive_counts END AS positive_counts,
       CASE WHEN :buckets AND NOT too_large THEN negative_offset END AS negative_offset,
       CASE WHEN :buckets AND NOT too_large THEN negative_counts END AS negative_counts
FROM (
    SELECT *, 8 * (COALESCE(cardinality(explicit_bounds), 0) + COALESCE(cardinality(bucket_counts), 0)
                   + CASE WHEN :buckets::boolean THEN COALESCE(cardinality(positive_counts), 0)
                                                      + COALESCE(cardinality(negative_counts), 0)
                          ELSE 0 END) > :max_bytes AS too_large
    FROM metric_totals
    WHERE tenant_id = 0 AND series_id = ANY (:ids::uuid[])
) t

-- name: numbers
-- What counters of deltas counted: altogether, with what waits to be added; and after a day.
SELECT s.n - 1 AS n,
       COALESCE(t.value, 0) + COALESCE(w.value, 0) AS value,
       COALESCE((
           SELECT sum(d.value) FROM metric_day_totals d
           WHERE d.series_id = s.series_id AND d.tenant_id = 0 AND d.day > :day
       ), 0) + COALESCE(w.later, 0) AS later
FROM unnest(:ids::uuid[]) WITH ORDINALITY AS s (series_id, n)
LEFT JOIN metric_totals t ON t.series_id = s.series_id AND t.tenant_id = 0
LEFT JOIN (
    SELECT series_id, sum(value) AS value,
           sum(value) FILTER (WHERE ("timestamp" AT TIME ZONE 'UTC')::date > :day) AS later
    FROM metric_delta_arrivals
    WHERE tenant_id = 0 AND value > 0 AND value < 'Infinity'
    GROUP BY series_id
) w ON w.series_id = s.series_id

-- name: distributions
-- What histograms of deltas counted, and which of their points wait to be added.
SELECT s.n - 1 AS n, t.since, t.count, t.sum, t.explicit_bounds, t.bucket_counts, t.scale, t.zero_count, t.zero_threshold,
       t.positive_offset, t.positive_counts, t.negative_offset, t.negative_counts, w.waiting, w.waiting_ns
FROM unnest(:ids::uuid[]) WITH ORDINALITY AS s (series_id, n)
LEFT JOIN metric_totals t ON t.series_id = s.series_id AND t.tenant_id = 0
LEFT JOIN (
    SELECT series_id, array_agg("timestamp" ORDER BY "timestamp", timestamp_ns) AS waiting,
           array_agg(timestamp_ns ORDER BY "timestamp", timestamp_ns) AS waiting_ns
    FROM metric_delta_arrivals
    WHERE tenant_id = 0 AND series_id = ANY (:ids::uuid[])
    GROUP BY series_id
) w ON w.series_id = s.series_id

-- name: deltas
SELECT series_id FROM metric_series WHERE tenant_id = 0 AND series_id = ANY (:ids::uuid[]) AND temporality = 'delta'
