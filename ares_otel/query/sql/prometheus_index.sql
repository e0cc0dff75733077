-- Keeping the index of series for Prometheus. What it is made of: migrations/023_prometheus_series.sql.

-- name: state
-- By which rules the index is made, whether a series is missing in it, and whether what was looked at is long ago.
SELECT i.translation::text AS translation, i.version, i.revision, i.checked_until < now() - :lag::interval AS behind,
       EXISTS (
           SELECT FROM metric_series s
           WHERE s.tenant_id = 0 AND s.first_seen >= i.checked_until
             AND NOT EXISTS (SELECT FROM prometheus_series p WHERE p.tenant_id = 0 AND p.series_id = s.series_id)
       ) AS missing
FROM prometheus_index i
WHERE i.tenant_id = 0

-- name: until
-- A series that is committed later was first seen at this time or later: `first_seen` is when its transaction began.
-- Transactions of other roles may be invisible; the rest of the seconds is for them.
SELECT least(now() - interval '15 seconds',
             (SELECT min(xact_start) FROM pg_stat_activity
              WHERE datname = current_database() AND backend_type = 'client backend')) AS until

-- name: checked
UPDATE prometheus_index SET checked_until = :until
WHERE tenant_id = 0 AND checked_until < :until AND revision = :revision

-- name: missing
-- Series that are not indexed.
SELECT m.series_id
FROM metric_series m
WHERE m.tenant_id = 0
  AND m.first_seen >= (SELECT checked_until FROM prometheus_index WHERE tenant_id = 0)             -- when lately
  AND NOT EXISTS (SELECT FROM prometheus_series p WHERE p.tenant_id = 0 AND p.series_id = m.series_id)
LIMIT :limit

-- name: outdated
-- Series that were translated by other rules than those in force.
SELECT DISTINCT p.series_id
FROM prometheus_series p
WHERE p.tenant_id = 0 AND p.revision <> :revision AND p.part <> 'info'
LIMIT :limit

-- name: definitions
-- What identifies series. A large one comes without labels.
SELECT s.series_id, s.service_name, s.metric_name, s.metric_type, s.unit, s.temporality, s.resource_id, s.scope_id, s.first_seen,
       s.metadata ->> :type_key AS prometheus_type, s.metadata ->> :buckets_key AS prometheus_buckets,
       CASE WHEN s.small THEN s.shown END AS labels, CASE WHEN s.small THEN s.attributes_raw END AS attributes_raw
FROM (
    SELECT m.*, m.labels::text AS shown,
           octet_length(m.labels::text) + COALESCE(octet_length(m.attributes_raw), 0) + octet_length(m.metric_name)
           + octet_length(m.unit) <= :max_bytes AS small
    FROM metric_series m
    WHERE m.tenant_id = 0 AND m.series_id = ANY (:ids::uuid[])
) s

-- name: outdated_resources
-- target_info of resources by other rules than those in force.
SELECT p.series_id AS resource_id
FROM prometheus_series p
WHERE p.tenant_id = 0 AND p.revision <> :revision AND p.part = 'info'
LIMIT :limit

-- name: resources
SELECT resource_id, first_seen, too_large,
       CASE WHEN NOT too_large THEN shown END AS attributes, CASE WHEN NOT too_large THEN attributes_raw END AS attributes_raw
FROM (
    SELECT *, octet_length(shown) + COALESCE(octet_length(attributes_raw), 0) > :max_bytes AS too_large
    FROM (SELECT resource_id, first_seen, COALESCE(attributes::text, '{}') AS shown, attributes_raw
          FROM otel_resources WHERE tenant_id = 0 AND resource_id = ANY (:ids::uuid[])) r
) r

-- name: scopes
SELECT scope_id, name, version, schema_url, too_large,
       CASE WHEN NOT too_large THEN shown END AS attributes, CASE WHEN NOT too_large THEN attributes_raw END AS attributes_raw
FROM (
    SELECT *, octet_length(shown) + COALESCE(octet_length(attributes_raw), 0) + octet_length(name) > :max_bytes AS too_large
    FROM (SELECT scope_id, COALESCE(name, '') AS name, version, schema_url, attributes::text AS shown, attributes_raw
          FROM otel_scopes WHERE tenant_id = 0 AND scope_id = ANY (:ids::uuid[])) r
) r

-- name: share_labels
-- While labels are written and referred to, none is removed.
SELECT pg_advisory_xact_lock_shared(:key::bigint)

-- name: keep_labels_out
SELECT pg_advisory_xact_lock(:key::bigint)

-- name: label_ids
-- Each key by the index, whatever the planner thinks of a table that is growing.
SELECT g.key AS label_key, l.label_id
FROM unnest(:keys::uuid[]) AS g (key)
CROSS JOIN LATERAL (SELECT label_id FROM prometheus_labels WHERE tenant_id = 0 AND label_key = g.key OFFSET 0) l

-- name: add_labels
-- Everybody inserts in the same order, so nobody deadlocks. Those that somebody else has inserted are not given back.
INSERT INTO prometheus_labels (label_key, name, value)
SELECT key, name, value FROM unnest(:keys::uuid[], :names::text[], :values::text[]) AS given (key, name, value) ORDER BY key
ON CONFLICT (tenant_id, label_key) DO NOTHING
RETURNING label_key, label_id

-- name: add_series
INSERT INTO prometheus_series (series_id, part, kind, name_id, label_ids, resource_id, first_seen, revision, verbatim)
SELECT series_id, part, kind, name_id, label_ids::integer[], resource_id, first_seen, :revision::integer, verbatim
FROM unnest(:series::uuid[], :parts::text[], :kinds::text[], :name_ids::integer[], :label_ids::text[], :resources::uuid[],
            :first_seen::timestamptz[], :verbatim::boolean[])
     AS given (series_id, part, kind, name_id, label_ids, resource_id, first_seen, verbatim)
ORDER BY series_id, part
ON CONFLICT (tenant_id, series_id, part) DO NOTHING

-- name: remove_outdated
DELETE FROM prometheus_series
WHERE tenant_id = 0 AND series_id = ANY (:ids::uuid[]) AND revision <> :revision

-- name: set_translation
-- Begins to make the index anew by other rules.
UPDATE prometheus_index SET translation = :translation::jsonb, version = :version, revision = revision + 1
WHERE tenant_id = 0 AND (translation <> :translation::jsonb OR version <> :version)

-- name: remove_gone
-- Of a range of ids what telemetry no longer has, or what came back to life as another series.
DELETE FROM prometheus_series p
WHERE p.tenant_id = 0 AND p.series_id = ANY (:ids::uuid[])
  AND CASE WHEN p.part = 'info'
           THEN NOT EXISTS (SELECT FROM otel_resources r WHERE r.tenant_id = 0 AND r.resource_id = p.series_id)
           ELSE NOT EXISTS (SELECT FROM metric_series s WHERE s.tenant_id = 0 AND s.series_id = p.series_id) END
RETURNING p.series_id

-- name: indexed
-- The next ids of a walk over the index.
SELECT DISTINCT series_id
FROM prometheus_series
WHERE tenant_id = 0
  AND series_id > :after                                                                           -- when after
ORDER BY series_id
LIMIT :limit

-- name: labels
-- The next labels of a walk over them.
SELECT label_id
FROM prometheus_labels
WHERE tenant_id = 0 AND label_id > :after
ORDER BY label_id
LIMIT :limit

-- name: remove_labels
-- Of these labels those that no series has.
DELETE FROM prometheus_labels l
WHERE l.tenant_id = 0 AND l.label_id = ANY (:ids::integer[])
  AND NOT EXISTS (SELECT FROM prometheus_series p WHERE p.label_ids @> ARRAY[l.label_id])

-- name: counts
-- How many series are indexed, and how many have no form in Prometheus, by reason.
SELECT CASE WHEN part = 'none' THEN kind ELSE 'indexed' END AS state, count(*) AS series
FROM prometheus_series
WHERE tenant_id = 0
GROUP BY 1
