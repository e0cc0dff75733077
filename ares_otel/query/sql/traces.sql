-- What belongs to the rows of a trace.

-- name: resources
SELECT p.resource_id, p.attributes
FROM (
    SELECT l.*, sum(octet_length(l.attributes)) OVER (ORDER BY l.resource_id ROWS UNBOUNDED PRECEDING) AS running_bytes
    FROM (
        SELECT DISTINCT ON (resource_id) resource_id, COALESCE(attributes::text, '{}') AS attributes
        FROM otel_resources
        WHERE tenant_id = ANY (:tenants::integer[]) AND resource_id = ANY (:ids::uuid[])
        ORDER BY resource_id, tenant_id
    ) l
) p
WHERE p.running_bytes - octet_length(p.attributes) < :max_bytes
ORDER BY p.resource_id
