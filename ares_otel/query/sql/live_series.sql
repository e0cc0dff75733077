-- Series that are in use and their newest samples.

-- name: series
-- What identifies a series. `last_seen` of one in use is a day and an hour old at most. Too large a one comes without labels.
SELECT series_id, service_name, metric_name, metric_type, unit, left(description, :description) AS description,
       temporality, resource_id, scope_id, first_seen,
       CASE WHEN small THEN labels::text END AS labels, CASE WHEN small THEN attributes_raw END AS attributes_raw
FROM (
    SELECT *, pg_column_size(labels) + COALESCE(octet_length(attributes_raw), 0) + octet_length(metric_name)
              + octet_length(unit) <= :max_bytes AS small
    FROM metric_series
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
WHERE tenant_id = 0 AND resource_id = ANY (:ids::uuid[]) AND pg_column_size(attributes) <= :max_bytes

-- name: scopes
SELECT scope_id, COALESCE(name, '') AS name, version, schema_url, attributes::text AS attributes, attributes_raw
FROM otel_scopes
WHERE tenant_id = 0 AND scope_id = ANY (:ids::uuid[]) AND pg_column_size(attributes) <= :max_bytes

-- name: numbers
-- Of two samples of one time the first counts.
SELECT s.series_id, p.*
FROM unnest(:ids::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT m.value, m.value_int, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags,
           m.exemplars::text AS exemplars, m.point_raw, m.original_time_unix_nano
    FROM metric_samples m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" > :lower AND m."timestamp" <= :upper
    ORDER BY m."timestamp" DESC, m.timestamp_ns DESC, m.id
    LIMIT 1
) p

-- name: distributions
SELECT s.series_id, p.*
FROM unnest(:ids::uuid[]) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT m.count, m.sum, m.min, m.max, m.explicit_bounds, m.bucket_counts, m.scale, m.zero_count, m.zero_threshold,
           m.positive_offset, m.positive_counts, m.negative_offset, m.negative_counts, m.quantiles, m.quantile_values,
           m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags, m.exemplars::text AS exemplars, m.point_raw,
           m.original_time_unix_nano
    FROM metric_distributions m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" > :lower AND m."timestamp" <= :upper
    ORDER BY m."timestamp" DESC, m.timestamp_ns DESC, m.id
    LIMIT 1
) p
