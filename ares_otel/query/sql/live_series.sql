-- Series that are in use and their newest samples.

-- name: series
-- What identifies a series. `last_seen` of one in use is a day and an hour old at most. Too large a one comes without labels.
SELECT series_id, service_name, metric_name, metric_type, unit, left(description, :description) AS description,
       temporality, resource_id, scope_id, first_seen, metadata ->> 'prometheus.type' AS prometheus_type,
       CASE WHEN small THEN shown END AS labels, CASE WHEN small THEN attributes_raw END AS attributes_raw
FROM (
    SELECT *, octet_length(shown) + COALESCE(octet_length(attributes_raw), 0) + octet_length(metric_name)
              + octet_length(unit) <= :max_bytes AS small
    FROM (SELECT *, labels::text AS shown FROM metric_series) m
    WHERE tenant_id = 0
      AND last_seen > now() - interval '26 hours'
      AND service_name <> :own
      AND series_id > :after                                                            -- when after
    ORDER BY tenant_id, series_id
    LIMIT :limit
) s
ORDER BY series_id

-- name: resources
SELECT resource_id, attributes::text AS attributes, attributes_raw, first_seen
FROM otel_resources
WHERE tenant_id = 0 AND resource_id = ANY (:ids::uuid[]) AND octet_length(attributes::text) <= :max_bytes

-- name: scopes
SELECT scope_id, COALESCE(name, '') AS name, version, schema_url, attributes::text AS attributes, attributes_raw
FROM otel_scopes
WHERE tenant_id = 0 AND scope_id = ANY (:ids::uuid[]) AND octet_length(attributes::text) <= :max_bytes

-- name: told
-- What a Prometheus told of metrics beside their samples: of several things the one that was new last, so that what is put
-- right counts.
SELECT DISTINCT ON (metric_name) metric_name, type, unit, left(help, :description) AS help
FROM prometheus_metadata
WHERE tenant_id = 0 AND metric_name = ANY (:names::text[])
ORDER BY metric_name, first_seen DESC, digest

-- name: numbers
-- Of two samples of one time the first counts. One that is filed under the time at which it came, because no partition
-- has its own, is none (see columns.sql). A large one comes without what makes it large.
SELECT s.series_id, p.value, p.value_int, p."timestamp", p.timestamp_ns, p.start_time, p.start_ns, p.flags,
       CASE WHEN octet_length(p.exemplars) <= :max_bytes THEN p.exemplars END AS exemplars,
       CASE WHEN octet_length(p.point_raw) <= :max_bytes THEN p.point_raw END AS point_raw, p.original_time_unix_nano,
       COALESCE(octet_length(p.point_raw) > :max_bytes, false) AS too_large
FROM unnest(:ids::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT n.value, n.value_int, n."timestamp", n.timestamp_ns, n.start_time, n.start_ns, n.flags,
           n.exemplars::text AS exemplars, n.point_raw, n.original_time_unix_nano
    FROM (
        (SELECT m.value, m.value_int, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags, m.exemplars,
                m.point_raw, m.original_time_unix_nano, m.id
         FROM metric_samples m
         WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" > :lower AND m."timestamp" <= :upper
           AND COALESCE(m.original_time_unix_nano, 0) = 0
         ORDER BY m."timestamp" DESC, m.timestamp_ns DESC, m.id
         LIMIT 1)
        UNION ALL
        -- A partition of ten minutes may be sealed before its last samples are stale. No pack is longer than a day.
        (SELECT u.value, u.value_int, u."timestamp", u.timestamp_ns, u.start_time, u.start_ns, NULL, u.exemplars,
                NULL, NULL, u.id
         FROM metric_packs k CROSS JOIN LATERAL unpacked(k) u
         WHERE k.tenant_id = 0 AND k.series_id = s.series_id AND k."timestamp" >= :lower::timestamptz - interval '1 day'
           AND k."timestamp" <= :upper AND k.last_timestamp > :lower
           AND u."timestamp" > :lower AND u."timestamp" <= :upper
         ORDER BY u."timestamp" DESC, u.timestamp_ns DESC, u.id
         LIMIT 1)
    ) n
    ORDER BY n."timestamp" DESC, n.timestamp_ns DESC, n.id
    LIMIT 1
) p

-- name: distributions
-- The same. Buckets of exponential histograms are only told in protobuf, else they are not read.
SELECT s.series_id, p.count, p.sum, p.min, p.max, p.scale, p.zero_count, p.zero_threshold,
       CASE WHEN NOT p.too_large THEN p.quantiles END AS quantiles,
       CASE WHEN NOT p.too_large THEN p.quantile_values END AS quantile_values,
       CASE WHEN NOT p.too_large THEN p.explicit_bounds END AS explicit_bounds,
       CASE WHEN NOT p.too_large THEN p.bucket_counts END AS bucket_counts,
       CASE WHEN :buckets AND NOT p.too_large THEN p.positive_offset END AS positive_offset,
       CASE WHEN :buckets AND NOT p.too_large THEN p.positive_counts END AS positive_counts,
       CASE WHEN :buckets AND NOT p.too_large THEN p.negative_offset END AS negative_offset,
       CASE WHEN :buckets AND NOT p.too_large THEN p.negative_counts END AS negative_counts,
       p."timestamp", p.timestamp_ns, p.start_time, p.start_ns, p.flags,
       CASE WHEN octet_length(p.exemplars) <= :max_bytes THEN p.exemplars END AS exemplars,
       CASE WHEN NOT p.too_large THEN p.point_raw END AS point_raw, p.original_time_unix_nano, p.too_large
FROM unnest(:ids::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT m.count, m.sum, m.min, m.max, m.explicit_bounds, m.bucket_counts, m.scale, m.zero_count, m.zero_threshold,
           m.positive_offset, m.positive_counts, m.negative_offset, m.negative_counts,
           m.quantiles, m.quantile_values, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags,
           m.exemplars::text AS exemplars, m.point_raw, m.original_time_unix_nano,
           COALESCE(octet_length(m.point_raw) > :max_bytes, false)
           OR 8 * (COALESCE(cardinality(m.explicit_bounds), 0) + COALESCE(cardinality(m.bucket_counts), 0)
                   + COALESCE(cardinality(m.quantiles), 0)
                   + CASE WHEN :buckets::boolean THEN COALESCE(cardinality(m.positive_counts), 0)
                                                      + COALESCE(cardinality(m.negative_counts), 0)
                          ELSE 0 END) > :max_bytes AS too_large
    FROM metric_distributions m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" > :lower AND m."timestamp" <= :upper
           AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp" DESC, m.timestamp_ns DESC, m.id
    LIMIT 1
) p
