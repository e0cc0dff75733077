-- Finding series for Prometheus by their labels.

-- name: values
-- The labels of a name with a value, or those whose value begins with a text and has another one in it.
SELECT label_id, value, '' AS nothing
FROM prometheus_labels
WHERE tenant_id = 0
  AND left(name, 200) COLLATE "C" = left(:name, 200)
  AND left(value, 200) COLLATE "C" >= left(:prefix, 200)                                           -- when prefix
  AND left(value, 200) COLLATE "C" < left(:prefix, 199) || U&'\+10FFFF'                             -- when prefix
  AND position(:part IN value) > 0                                                                 -- when part
  AND name = :name
  AND value <> ''

-- name: series
-- Labels of long lists are looked up one after the other: the planner does not know that comparing lists takes time.
SELECT p.series_id, p.part, p.kind, p.label_ids, p.resource_id, p.first_seen, p.verbatim
FROM prometheus_series p
WHERE p.tenant_id = 0
  AND p.part <> 'none'
  AND p.label_ids @> :all_of::integer[]                                                            -- when all_of
  AND p.label_ids && :any_of_a::integer[]                                                          -- when any_of_a
  AND p.label_ids && :any_of_b::integer[]                                                          -- when any_of_b
  AND NOT p.label_ids && :none_of::integer[]                                                       -- when none_of
  AND (p.series_id, p.part) IN (SELECT * FROM prometheus_series_with(:any_of_many::integer[]))     -- when any_of_many
ORDER BY p.series_id, p.part

-- name: texts
SELECT l.label_id, l.name, l.value
FROM unnest(:ids::integer[]) AS g (id)
CROSS JOIN LATERAL (SELECT * FROM prometheus_labels WHERE tenant_id = 0 AND label_id = g.id OFFSET 0) l

-- name: newest_distributions
-- Of each series the newest point of the range; of several in its millisecond the first counts.
SELECT s.n, m.*
FROM unnest(:series::uuid[]) WITH ORDINALITY AS s (series_id, n)
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', m."timestamp") AS since
    FROM metric_distributions m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" >= :lower AND m."timestamp" < :upper
      AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp" DESC
    LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT m.series_id, m.count, m.sum, m.min, m.max, m.explicit_bounds, m.bucket_counts, m.scale, m.zero_count,
           m.zero_threshold, m.positive_offset, m.positive_counts, m.negative_offset, m.negative_counts, m.quantiles,
           m.quantile_values, m."timestamp", m.timestamp_ns, m.start_time, m.start_ns, m.flags,
           NULL::text AS exemplars, m.point_raw, m.original_time_unix_nano
    FROM metric_distributions m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id
      AND m."timestamp" >= newest.since AND m."timestamp" < newest.since + interval '1 millisecond'
      AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp", m.timestamp_ns, m.id
    LIMIT 1
) m

-- name: of_resources
-- The series of resources, but those that came as Prometheus has them: of such a resource nothing is told.
SELECT DISTINCT p.resource_id, p.series_id, p.part IN ('count', 'native') AS distribution
FROM prometheus_series p
WHERE p.tenant_id = 0 AND p.resource_id = ANY (:ids::uuid[]) AND p.part IN ('value', 'delta', 'count', 'native') AND NOT p.verbatim
LIMIT :limit

-- name: first_numbers
-- Of each owner the time of the first sample of its series. Of packs only those are unpacked that begin before the range.
SELECT s.owner, min(p.moment) AS moment
FROM unnest(:series::uuid[], :owners::integer[]) AS s (series_id, owner)
CROSS JOIN LATERAL (
    (SELECT m."timestamp" AS moment FROM metric_samples m
     WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" >= :lower AND m."timestamp" < :upper
       AND COALESCE(m.original_time_unix_nano, 0) = 0
     ORDER BY m."timestamp" LIMIT 1)
    UNION ALL
    (SELECT k."timestamp" FROM metric_packs k
     WHERE k.tenant_id = 0 AND k.series_id = s.series_id AND k."timestamp" >= :lower AND k."timestamp" < :upper
       AND k.count > 0
     ORDER BY k."timestamp" LIMIT 1)
    UNION ALL
    (SELECT min(u."timestamp") FROM metric_packs k CROSS JOIN LATERAL unpacked(k) u
     WHERE k.tenant_id = 0 AND k.series_id = s.series_id
       AND k."timestamp" >= :lower::timestamptz - interval '1 day' AND k."timestamp" < :lower
       AND k.last_timestamp >= :lower AND u."timestamp" >= :lower AND u."timestamp" < :upper)
) p
WHERE p.moment IS NOT NULL
GROUP BY s.owner

-- name: ends_distributions
-- Of each owner the time of the first point of its series, or of the last one.
SELECT s.owner,
       min(p."timestamp") AS moment                                                                -- when first
       max(p."timestamp") AS moment                                                                -- when last
FROM unnest(:series::uuid[], :owners::integer[]) AS s (series_id, owner)
CROSS JOIN LATERAL (
    SELECT m."timestamp", COALESCE(m.flags, 0) & 1 = 0 AS alive
    FROM metric_distributions m
    WHERE m.tenant_id = 0 AND m.series_id = s.series_id AND m."timestamp" >= :lower AND m."timestamp" < :upper
      AND COALESCE(m.original_time_unix_nano, 0) = 0
    ORDER BY m."timestamp"                                                                         -- when first
    ORDER BY m."timestamp" DESC                                                                    -- when last
    LIMIT 1
) p
WHERE p.alive                                                                                      -- when alive
GROUP BY s.owner

-- name: label_names
-- Names of labels, those that only samples have among them.
SELECT name FROM (
    SELECT name FROM prometheus_labels WHERE tenant_id = 0 AND value = ''
    UNION SELECT 'le' WHERE EXISTS (SELECT FROM prometheus_series WHERE tenant_id = 0 AND part = 'bucket')
    UNION SELECT 'quantile' WHERE EXISTS (SELECT FROM prometheus_series WHERE tenant_id = 0 AND part = 'quantile')
) n
ORDER BY name COLLATE "C"
LIMIT :limit

-- name: label_values
SELECT value
FROM prometheus_labels
WHERE tenant_id = 0 AND left(name, 200) COLLATE "C" = left(:name, 200) AND name = :name AND value <> ''
ORDER BY value COLLATE "C"
LIMIT :limit

-- name: metadata
-- Type, unit and description of metrics by the names of their families, as their series say them or remote write did. Of what
-- came from a Prometheus a series is asked where nothing was told apart from it, and not when it is one line of a histogram.
SELECT name, kind, unit, help
FROM (
    SELECT CASE p.part WHEN 'count' THEN left(l.value, -6) ELSE l.value END AS name, p.kind, s.unit,
           left(s.description, :description) AS help
    FROM prometheus_series p
    JOIN prometheus_labels l ON l.tenant_id = 0 AND l.label_id = p.name_id
    JOIN metric_series s ON s.tenant_id = 0 AND s.series_id = p.series_id
    WHERE p.tenant_id = 0
      AND (p.part IN ('delta', 'count')
           OR p.part IN ('value', 'native', 'custom')
              AND (NOT p.verbatim
                   OR (p.kind IN ('counter', 'gauge', 'info', 'stateset') OR p.part <> 'value')
                      AND NOT EXISTS (SELECT FROM prometheus_metadata d
                                      WHERE d.tenant_id = 0 AND d.metric_name = l.value)))
    UNION ALL
    SELECT metric_name, type, unit, left(help, :description) FROM prometheus_metadata WHERE tenant_id = 0
    UNION ALL
    SELECT 'target_info', 'gauge', '', 'Target metadata'
    WHERE EXISTS (SELECT FROM prometheus_series WHERE tenant_id = 0 AND part = 'info')
) m
WHERE name = :name                                                                       -- when name
GROUP BY name, kind, unit, help
ORDER BY name COLLATE "C", kind, unit, help
LIMIT :limit
