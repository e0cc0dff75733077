-- Finding series for Prometheus by their labels. Lists of labels that are long are asked for in a hash, not by the index.

-- name: keys
-- The label of each key; none where no series has it.
SELECT label_key, label_id FROM prometheus_labels WHERE tenant_id = 0 AND label_key = ANY (:keys::uuid[])

-- name: values
-- The labels of a name with a value, or those whose value begins with a text.
SELECT label_id, value, '' AS nothing
FROM prometheus_labels
WHERE tenant_id = 0
  AND left(name, 200) COLLATE "C" = left(:name, 200)
  AND left(value, 200) COLLATE "C" >= left(:prefix, 200)                                           -- when prefix
  AND left(value, 200) COLLATE "C" < left(:prefix, 199) || U&'\+10FFFF'                             -- when prefix
  AND name = :name
  AND value <> ''

-- name: series
SELECT p.series_id, p.part, p.kind, p.label_ids, p.resource_id, p.first_seen
FROM prometheus_series p
WHERE p.tenant_id = 0
  AND p.part <> 'none'
  AND p.label_ids @> :all_of::integer[]                                                            -- when all_of
  AND p.label_ids && :any_of_a::integer[]                                                          -- when any_of_a
  AND p.label_ids && :any_of_b::integer[]                                                          -- when any_of_b
  AND NOT p.label_ids && :none_of::integer[]                                                       -- when none_of
  AND EXISTS (SELECT FROM unnest(p.label_ids) AS l (id) WHERE l.id = ANY (:any_of_many::integer[]))  -- when any_of_many
  AND NOT EXISTS (SELECT FROM unnest(p.label_ids) AS l (id) WHERE l.id = ANY (:none_of_many::integer[]))  -- when none_of_many
ORDER BY p.series_id, p.part

-- name: texts
SELECT label_id, name, value FROM prometheus_labels WHERE tenant_id = 0 AND label_id = ANY (:ids::integer[])
