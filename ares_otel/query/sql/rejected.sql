-- What the database refused to store, newest first. Payloads can be megabytes: only `one` reads them.

-- name: page
SELECT id, tenant_id, received_at, rejected_at, signal, service_name, items, reason, sqlstate, told, key
FROM ingest_rejected
WHERE true
  AND service_name = left(:service, 255)                                -- when service
  AND signal = :signal                                                  -- when signal
  AND rejected_at >= :since                                             -- when since
  AND (rejected_at, id) < (:after_time, :after_id)                      -- when after_time
ORDER BY rejected_at DESC, id DESC
LIMIT :limit

-- name: one
SELECT id, tenant_id, received_at, rejected_at, signal, service_name, items, reason, sqlstate, told, key, payload
FROM ingest_rejected
WHERE id = :id
