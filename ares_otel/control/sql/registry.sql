-- The service registry. Times are the database's, so that all processes agree on them.

-- name: register
WITH written AS (
    INSERT INTO service_registry AS r (name, instance_id, version, port, health_url, metadata,
                                       last_registration, next_probe_at, status_reason)
    VALUES (:name, :instance_id, :version, :port, :health_url, :metadata::jsonb, now(), now(), 'It registered.')
    ON CONFLICT (name, instance_id) DO UPDATE SET
        version = COALESCE(NULLIF(excluded.version, ''), r.version),
        port = excluded.port,
        health_url = excluded.health_url,
        metadata = r.metadata || excluded.metadata,
        last_heartbeat = now(),
        last_registration = now(),
        reported_status = NULL,
        -- The new health check has not been asked yet; the schedule stays, so that registering again and again does not
        -- make Ares ask more often.
        last_probe = CASE WHEN r.health_url IS NOT DISTINCT FROM excluded.health_url THEN r.last_probe END,
        last_probe_ok = CASE WHEN r.health_url IS NOT DISTINCT FROM excluded.health_url THEN r.last_probe_ok END,
        last_probe_error = CASE WHEN r.health_url IS NOT DISTINCT FROM excluded.health_url THEN r.last_probe_error END,
        probe_latency_ms = CASE WHEN r.health_url IS NOT DISTINCT FROM excluded.health_url THEN r.probe_latency_ms END
    RETURNING r.id, r.name, r.instance_id, r.version, r.status, r.status_reason, r.metadata, r.xmax = 0 AS created
), noted AS (
    INSERT INTO service_status_history (service_id, service_name, instance_id, old_status, new_status, reason)
    SELECT id, name, instance_id, NULL, status, status_reason FROM written WHERE created
    RETURNING id, changed_at
)
SELECT w.id AS service_id, w.name, w.instance_id, w.version, NULL::text AS old_status, w.status AS new_status,
       w.status_reason AS reason, w.created, octet_length(w.metadata::text) AS metadata_bytes,
       n.id AS history_id, n.changed_at
FROM written w LEFT JOIN noted n ON true

-- name: heartbeat
UPDATE service_registry SET
    last_heartbeat = now(),
    last_registration_heartbeat = now(),
    last_registration = COALESCE(last_registration, now()),
    reported_status = :status::text,
    metadata = metadata || :metadata::jsonb
WHERE id = :id
RETURNING octet_length(metadata::text) AS metadata_bytes

-- name: hold
-- Before telemetry is noted: who is just leaving has left when that begins, and nobody leaves in the middle of it.
SELECT r.id
FROM service_registry r
JOIN unnest(:names::text[], :instance_ids::text[]) AS seen (name, instance_id)
  ON r.name = seen.name AND r.instance_id = seen.instance_id
ORDER BY r.name COLLATE "C", r.instance_id COLLATE "C" FOR NO KEY UPDATE OF r

-- name: telemetry
-- Who has just left still had something to send: that does not bring it back.
WITH written AS (
    INSERT INTO service_registry AS r (name, instance_id, version, metadata, last_telemetry, status_reason)
    SELECT name, instance_id, version, metadata, now(), 'It sends telemetry.'
    FROM unnest(:names::text[], :instance_ids::text[], :versions::text[], :metadata::jsonb[])
         AS seen (name, instance_id, version, metadata)
    WHERE EXISTS (SELECT FROM service_registry known
                  WHERE known.name = seen.name AND known.instance_id = seen.instance_id)
       OR NOT EXISTS (SELECT FROM service_status_history gone
                      WHERE gone.service_name = seen.name AND gone.instance_id = seen.instance_id
                        AND gone.changed_at > now() - :farewell::interval
                        AND gone.reason = 'It was taken off the registry.')
    ON CONFLICT (name, instance_id) DO UPDATE SET
        last_heartbeat = now(),
        last_telemetry = now(),
        version = COALESCE(NULLIF(excluded.version, ''), r.version),
        metadata = r.metadata || excluded.metadata
    RETURNING r.id, r.name, r.instance_id, r.version, r.status, r.status_reason, r.xmax = 0 AS created
), noted AS (
    INSERT INTO service_status_history (service_id, service_name, instance_id, old_status, new_status, reason)
    SELECT id, name, instance_id, NULL, status, status_reason FROM written WHERE created
    RETURNING id, service_id, changed_at
)
SELECT w.id AS service_id, w.name, w.instance_id, w.version, NULL::text AS old_status, w.status AS new_status,
       w.status_reason AS reason, w.created, n.id AS history_id, n.changed_at
FROM written w LEFT JOIN noted n ON n.service_id = w.id
WHERE w.created OR w.status <> 'online'

-- name: judge
-- What each service's status is by the signs there are, and who of them has another one so far. Locking the row before
-- it is judged makes the verdict one about the row as it is now; who holds a lock is just being heard of, and waits for
-- the next time.
WITH turn AS MATERIALIZED (
    SELECT true AS ours
    WHERE true
      AND pg_try_advisory_xact_lock(hashtextextended('ares_otel registry pass', 0))  -- when whole_pass
), due AS MATERIALIZED (
    SELECT r.id, r.status AS old_status, v.status AS new_status, v.reason
    FROM service_registry r
    CROSS JOIN LATERAL (SELECT
        r.last_heartbeat > now() - CASE WHEN r.registered THEN 3 * :beat::interval
                                        ELSE greatest(3 * :beat::interval, :telemetry_grace::interval) END
        -- A time-out that is longer than the interval makes health checks rarer, and so do many that hang: the last one
        -- counts until the next is long overdue, for it is not the service that is late.
        OR COALESCE(r.health_url IS NOT NULL AND r.last_probe_ok
                    AND r.next_probe_at > now() - greatest(2 * :beat::interval, :telemetry_grace::interval),
                    false) AS alive,
        greatest(r.last_registration, r.last_registration_heartbeat) > now() - 3 * :beat::interval AS beats,
        r.last_telemetry > now() - 3 * :beat::interval AS sends,
        r.health_url IS NOT NULL AND r.last_probe_ok IS NOT NULL AS probed
    ) f
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT f.alive THEN 'offline'
        WHEN r.reported_status = 'degraded' OR (f.probed AND NOT r.last_probe_ok) THEN 'degraded'
        WHEN r.registered AND NOT f.beats AND NOT (r.last_registration_heartbeat IS NULL AND f.probed) THEN 'degraded'
        ELSE 'online'
    END AS status, CASE
        WHEN NOT f.alive AND r.registered THEN 'Nothing was heard of it for three heartbeat intervals.'
        WHEN NOT f.alive THEN 'It sends no telemetry any more.'
        WHEN f.probed AND NOT r.last_probe_ok AND f.beats AND r.last_registration_heartbeat IS NOT NULL THEN 'Its health check fails although it sends heartbeats.'
        WHEN f.probed AND NOT r.last_probe_ok THEN 'Its health check fails although it was heard of.'
        WHEN r.reported_status = 'degraded' THEN 'It says so itself.'
        WHEN r.registered AND NOT f.beats AND NOT (r.last_registration_heartbeat IS NULL AND f.probed) THEN
            CASE WHEN f.sends THEN 'It sends no heartbeats any more although it sends telemetry.'
                 ELSE 'It sends no heartbeats any more although its health check is answered.' END
        WHEN r.registered AND f.beats AND r.last_registration_heartbeat IS NULL THEN 'It registered.'
        WHEN r.registered AND f.beats THEN 'It sends heartbeats.'
        WHEN r.registered THEN 'Its health check is answered.'
        ELSE 'It sends telemetry.'
    END AS reason) v
    WHERE v.status <> r.status
      AND (SELECT ours FROM turn)
      AND r.id = ANY (:ids::bigint[])  -- when ids
      -- Whoever starts has not listened for long enough to say that there was silence.
      AND (:listened::interval > 3 * :beat::interval OR v.status = 'online')  -- when listened
      AND (:listened::interval > :telemetry_grace::interval OR r.registered OR v.status = 'online')  -- when listened
    FOR UPDATE OF r SKIP LOCKED
), changed AS (
    UPDATE service_registry r
    SET status = due.new_status, status_reason = due.reason, status_since = now()
    FROM due
    WHERE r.id = due.id
    RETURNING r.id, r.name, r.instance_id, r.version, due.old_status, due.new_status, due.reason
), noted AS (
    INSERT INTO service_status_history (service_id, service_name, instance_id, old_status, new_status, reason)
    SELECT id, name, instance_id, old_status, new_status, reason FROM changed
    RETURNING id, service_id, changed_at
)
SELECT c.id AS service_id, c.name, c.instance_id, c.version, c.old_status, c.new_status, c.reason,
       n.id AS history_id, n.changed_at
FROM changed c JOIN noted n ON n.service_id = c.id
ORDER BY n.id

-- name: deregister
WITH gone AS (
    DELETE FROM service_registry WHERE id = :id RETURNING id, name, instance_id, version, status
), noted AS (
    INSERT INTO service_status_history (service_id, service_name, instance_id, old_status, new_status, reason)
    SELECT id, name, instance_id, status, 'offline', 'It was taken off the registry.' FROM gone
    RETURNING id, changed_at
)
SELECT g.id AS service_id, g.name, g.instance_id, g.version, g.status AS old_status, 'offline' AS new_status,
       'It was taken off the registry.' AS reason, n.id AS history_id, n.changed_at
FROM gone g CROSS JOIN noted n

-- name: forget
-- Instances that are gone for long: every restart of a container may have made a new one.
WITH old AS (
    SELECT id FROM service_registry
    WHERE status = 'offline'
      AND status_since < now() - make_interval(days => CASE WHEN registered THEN :registered_days::int
                                                            ELSE :days::int END)
    LIMIT 1000 FOR UPDATE SKIP LOCKED
)
DELETE FROM service_registry r USING old WHERE r.id = old.id

-- name: prune
DELETE FROM service_status_history
WHERE id IN (
    SELECT id FROM service_status_history WHERE changed_at < now() - make_interval(days => :days::int) LIMIT 5000
)

-- name: services
SELECT r.id, r.tenant_id, r.name, r.instance_id, r.version, r.status, r.status_since, r.status_reason, r.port,
       r.health_url, r.metadata, r.registered_at, r.registered, r.last_heartbeat, r.last_registration,
       r.last_registration_heartbeat, r.reported_status, r.last_telemetry, r.last_probe, r.last_probe_ok,
       r.last_probe_error, r.probe_latency_ms, r.next_probe_at,
       s.heartbeats AS signs_heartbeats, s.telemetry AS signs_telemetry, s.summary AS signs_summary
FROM service_registry r
JOIN v_service_signs s USING (id)
WHERE true
  AND r.id = :id  -- when id
  AND r.id > :after  -- when after
  AND r.status = :status  -- when status
  AND r.name = left(:name, 255)  -- when name
ORDER BY r.id
LIMIT :limit

-- name: claim_probes
-- Moving the time on is taking the work: two processes never ask the same service twice in an interval. A time further
-- away than any schedule reaches comes from an interval that was longer, and does not count any more.
UPDATE service_registry r
SET next_probe_at = now() + (1 + random() * :jitter::double precision) * :pause::interval
WHERE r.id IN (
    SELECT id FROM service_registry
    WHERE health_url IS NOT NULL
      AND (next_probe_at IS NULL OR next_probe_at <= now()
           OR next_probe_at > now() + (1 + :jitter::double precision) * :pause::interval)
    ORDER BY next_probe_at NULLS FIRST
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
RETURNING r.id, r.name, r.instance_id, r.health_url

-- name: probed
-- A result counts for the address that was asked, not for one that was registered meanwhile.
UPDATE service_registry r SET
    last_probe = now(),
    last_probe_ok = p.ok,
    last_probe_error = p.error,
    probe_latency_ms = p.latency_ms,
    last_heartbeat = CASE WHEN p.ok THEN now() ELSE r.last_heartbeat END
FROM unnest(:ids::bigint[], :urls::text[], :oks::boolean[], :errors::text[], :latencies::double precision[])
     AS p (id, url, ok, error, latency_ms)
JOIN (
    -- Everybody who changes many rows locks them in the order in which telemetry does.
    SELECT id FROM service_registry WHERE id = ANY (:ids::bigint[])
    ORDER BY name COLLATE "C", instance_id COLLATE "C" FOR UPDATE
) locked ON locked.id = p.id
WHERE r.id = p.id AND r.health_url = p.url
RETURNING r.id

-- name: scrape_targets
SELECT name, instance_id, version, status, port, health_url, metadata::text AS metadata
  FROM service_registry
 WHERE registered
   AND metadata ?| ARRAY['prometheus.io/scrape', 'prometheus.io/port', 'prometheus.io/path']
   AND status <> 'offline' -- when only_living
 ORDER BY name, instance_id
 LIMIT :most
