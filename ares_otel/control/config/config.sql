-- Settings, their history, and who may change what when. Triggers (migration 010) give versions and write the history.

-- name: begin_edit
SELECT set_config('lock_timeout', :lock_timeout, true),
       set_config('ares.changed_by', :who, true),
       set_config('ares.change_reason', :why, true),
       set_config('ares.rekey', :rekey, true)

-- name: take_turn
-- The lock that the triggers take, taken before the first look: what is read then is what will be changed.
SELECT pg_advisory_xact_lock(4715943305537351270)

-- name: setting
SELECT id, service_name, config_key, config_value::text AS config_value, description, is_encrypted, last_updated,
       updated_by, version, created_at
FROM service_config
WHERE service_name = :service AND config_key = :key

-- name: settings
-- In the order of the keys' bytes, the same everywhere. Ends after :limit rows, or where their text passes :max_bytes.
SELECT p.*
FROM (
    SELECT s.*, sum(octet_length(s.config_value) + octet_length(s.description))
                OVER (ORDER BY s.config_key COLLATE "C" ROWS UNBOUNDED PRECEDING)
                - octet_length(s.config_value) - octet_length(s.description) AS bytes_before,
           count(*) OVER () AS found
    FROM (
        SELECT id, service_name, config_key, config_value::text AS config_value, description, is_encrypted,
               last_updated, updated_by, version, created_at
        FROM service_config
        WHERE service_name = :service
        ORDER BY config_key COLLATE "C"
        LIMIT :limit
    ) s
) p
WHERE p.bytes_before < :max_bytes
ORDER BY p.config_key COLLATE "C"

-- name: latest
-- The state of a key with its newest history row: the version it will go on from, and whether it was a secret.
SELECT version, old_is_encrypted, new_is_encrypted, new_value IS NULL AS deleted
FROM service_config_history
WHERE service_name = :service AND config_key = :key
ORDER BY version DESC
LIMIT 1

-- name: create
INSERT INTO service_config (service_name, config_key, config_value, description, is_encrypted, updated_by)
VALUES (:service, :key, CAST(:value AS text)::jsonb, COALESCE(:description, ''), :is_encrypted, :who)
RETURNING id, service_name, config_key, config_value::text AS config_value, description, is_encrypted, last_updated,
          updated_by, version, created_at

-- name: change
UPDATE service_config
SET config_value = CAST(:value AS text)::jsonb,
    description = COALESCE(:description, description),
    is_encrypted = :is_encrypted,
    updated_by = :who
WHERE service_name = :service AND config_key = :key
RETURNING id, service_name, config_key, config_value::text AS config_value, description, is_encrypted, last_updated,
          updated_by, version, created_at

-- name: describe
UPDATE service_config
SET description = :description
WHERE service_name = :service AND config_key = :key
RETURNING id, service_name, config_key, config_value::text AS config_value, description, is_encrypted, last_updated,
          updated_by, version, created_at

-- name: delete
DELETE FROM service_config
WHERE service_name = :service AND config_key = :key
RETURNING id

-- name: history
-- Newest first. Ends after :limit rows, or where their text passes :max_bytes.
SELECT p.*
FROM (
    SELECT h.*, sum(h.row_bytes) OVER (ORDER BY h.version DESC ROWS UNBOUNDED PRECEDING) - h.row_bytes AS bytes_before,
           count(*) OVER () AS found
    FROM (
        SELECT id, service_name, config_key, version, old_value::text AS old_value, new_value::text AS new_value,
               old_is_encrypted, new_is_encrypted, changed_by, change_reason, changed_at,
               COALESCE(octet_length(old_value::text), 0) + COALESCE(octet_length(new_value::text), 0) AS row_bytes
        FROM service_config_history
        WHERE service_name = :service AND config_key = :key
          AND version < :before                                                             -- when before
        ORDER BY version DESC
        LIMIT :limit
    ) h
) p
WHERE p.bytes_before < :max_bytes
ORDER BY p.version DESC

-- name: version
SELECT id, service_name, config_key, version, old_value::text AS old_value, new_value::text AS new_value,
       old_is_encrypted, new_is_encrypted, changed_by, change_reason, changed_at
FROM service_config_history
WHERE service_name = :service AND config_key = :key AND version = :version

-- name: plain_history
-- Versions of a key that hold values in plain text.
SELECT id, old_value::text AS old_value, new_value::text AS new_value, old_is_encrypted, new_is_encrypted
FROM service_config_history
WHERE service_name = :service AND config_key = :key
  AND ((old_value IS NOT NULL AND NOT old_is_encrypted) OR (new_value IS NOT NULL AND NOT new_is_encrypted))

-- name: seal_history
UPDATE service_config_history
SET old_value = CAST(:old_value AS text)::jsonb, old_is_encrypted = :old_is_encrypted,
    new_value = CAST(:new_value AS text)::jsonb, new_is_encrypted = :new_is_encrypted
WHERE id = :id

-- name: rekey_allowed
SELECT set_config('ares.rekey', :rekey, true)

-- name: record_reveals
INSERT INTO service_config_reveals (service_name, config_key, version, revealed_by, surface)
SELECT :service, key, version, :who, :surface
FROM unnest(CAST(:keys AS text[]), CAST(:versions AS bigint[])) AS shown (key, version)
RETURNING id

-- name: newest_change
SELECT COALESCE(max(id), 0) AS id FROM service_config_history

-- name: newest_change_of
SELECT COALESCE(max(id), 0) AS id FROM service_config_history WHERE service_name = :service

-- name: changes_after
SELECT id, service_name, config_key, version, NULL::text AS old_value,
       CASE WHEN new_is_encrypted AND new_value IS NOT NULL THEN 'null' ELSE new_value::text END AS new_value,
       old_is_encrypted, new_is_encrypted, changed_by, change_reason, changed_at
FROM service_config_history
WHERE service_name = :service AND id > :after
ORDER BY id
LIMIT :limit
