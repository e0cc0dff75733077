-- Roll-ups: counts by minute, so that the common questions never read spans or log records.
--
-- A request appends increments, in the transaction that stores its rows; a job merges them a few seconds later. Latencies
-- are sparse histograms: bucket b holds durations from 2^(b/64) up to 2^((b+1)/64) nanoseconds, bucket -1 those of 0.

-- Increments: written by COPY, read and deleted by the job from the beginning. No index would earn its cost.
CREATE TABLE span_rollup_increments (
    tenant_id       integer NOT NULL DEFAULT 0,
    minute          timestamptz NOT NULL,
    service_name    text NOT NULL,
    operation_name  text NOT NULL,
    kind            text NOT NULL,
    calls           bigint NOT NULL,
    errors          bigint NOT NULL,
    duration_ns_sum bigint NOT NULL,
    duration_ns_max bigint NOT NULL,
    buckets         smallint[] NOT NULL,
    counts          bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

COMMENT ON TABLE  span_rollup_increments IS 'What stored requests add to span_rollups, until a job merges it a few seconds later';
COMMENT ON COLUMN span_rollup_increments.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN span_rollup_increments.minute IS 'The minute in which the spans begin, UTC';
COMMENT ON COLUMN span_rollup_increments.service_name IS 'service.name of the resource';
COMMENT ON COLUMN span_rollup_increments.operation_name IS 'Span name, its first 255 characters';
COMMENT ON COLUMN span_rollup_increments.kind IS 'unspecified, internal, server, client, producer or consumer';
COMMENT ON COLUMN span_rollup_increments.calls IS 'Spans';
COMMENT ON COLUMN span_rollup_increments.errors IS 'Of them with status error';
COMMENT ON COLUMN span_rollup_increments.duration_ns_sum IS 'Sum of their durations in nanoseconds';
COMMENT ON COLUMN span_rollup_increments.duration_ns_max IS 'The longest duration in nanoseconds';
COMMENT ON COLUMN span_rollup_increments.buckets IS 'Buckets of the durations, ascending: 64 * log2 of the nanoseconds, rounded down; -1 for 0';
COMMENT ON COLUMN span_rollup_increments.counts IS 'Spans in each of the buckets';

CREATE TABLE log_rollup_increments (
    tenant_id    integer NOT NULL DEFAULT 0,
    minute       timestamptz NOT NULL,
    service_name text NOT NULL,
    debug        bigint NOT NULL,
    info         bigint NOT NULL,
    warn         bigint NOT NULL,
    error        bigint NOT NULL,
    trace_hashes bigint[] NOT NULL,
    threshold    bigint
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

COMMENT ON TABLE  log_rollup_increments IS 'What stored requests add to log_rollups, until a job merges it a few seconds later';
COMMENT ON COLUMN log_rollup_increments.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN log_rollup_increments.minute IS 'The minute of the log records, UTC';
COMMENT ON COLUMN log_rollup_increments.service_name IS 'service.name of the resource';
COMMENT ON COLUMN log_rollup_increments.debug IS 'Records of level DEBUG';
COMMENT ON COLUMN log_rollup_increments.info IS 'Records of level INFO';
COMMENT ON COLUMN log_rollup_increments.warn IS 'Records of level WARN';
COMMENT ON COLUMN log_rollup_increments.error IS 'Records of level ERROR';
COMMENT ON COLUMN log_rollup_increments.trace_hashes IS 'Hashes (63 bits) of the trace ids of the records, ascending, each once: all below the threshold';
COMMENT ON COLUMN log_rollup_increments.threshold IS 'Hashes from here on were left out; NULL when none was';

-- The merged tables. Rows of the current minute change every few seconds: room on the page keeps that off the indexes.
CREATE TABLE span_rollups (
    minute          timestamptz NOT NULL,
    minutes         smallint NOT NULL DEFAULT 1 CHECK (minutes IN (1, 60)),
    tenant_id       integer NOT NULL DEFAULT 0,
    service_name    text NOT NULL,
    operation_name  text NOT NULL,
    kind            text NOT NULL,
    calls           bigint NOT NULL,
    errors          bigint NOT NULL,
    duration_ns_sum numeric NOT NULL,
    duration_ns_max bigint NOT NULL,
    buckets         smallint[] NOT NULL,
    counts          bigint[] NOT NULL,
    PRIMARY KEY (minute, minutes, tenant_id, service_name, operation_name, kind)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  span_rollups IS 'Spans by minute, service, operation and kind: calls, errors, latency; v_operation_minutes shows percentiles';
COMMENT ON COLUMN span_rollups.minute IS 'Beginning of the time in which the spans begin, UTC';
COMMENT ON COLUMN span_rollups.minutes IS 'Length of that time: 1, or 60 after two days';
COMMENT ON COLUMN span_rollups.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN span_rollups.service_name IS 'service.name of the resource';
COMMENT ON COLUMN span_rollups.operation_name IS 'Span name, its first 255 characters';
COMMENT ON COLUMN span_rollups.kind IS 'unspecified, internal, server, client, producer or consumer';
COMMENT ON COLUMN span_rollups.calls IS 'Spans';
COMMENT ON COLUMN span_rollups.errors IS 'Of them with status error';
COMMENT ON COLUMN span_rollups.duration_ns_sum IS 'Sum of their durations in nanoseconds';
COMMENT ON COLUMN span_rollups.duration_ns_max IS 'The longest duration in nanoseconds';
COMMENT ON COLUMN span_rollups.buckets IS 'Buckets of the durations, ascending: 64 * log2 of the nanoseconds, rounded down; -1 for 0';
COMMENT ON COLUMN span_rollups.counts IS 'Spans in each of the buckets';

CREATE TABLE log_rollups (
    minute       timestamptz NOT NULL,
    minutes      smallint NOT NULL DEFAULT 1 CHECK (minutes IN (1, 60)),
    tenant_id    integer NOT NULL DEFAULT 0,
    service_name text NOT NULL,
    debug        bigint NOT NULL,
    info         bigint NOT NULL,
    warn         bigint NOT NULL,
    error        bigint NOT NULL,
    trace_hashes bigint[] NOT NULL,
    threshold    bigint,
    PRIMARY KEY (minute, minutes, tenant_id, service_name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  log_rollups IS 'Log records by minute and service: how many of each level, of how many traces';
COMMENT ON COLUMN log_rollups.minute IS 'Beginning of the time, UTC';
COMMENT ON COLUMN log_rollups.minutes IS 'Length of that time: 1, or 60 after two days';
COMMENT ON COLUMN log_rollups.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN log_rollups.service_name IS 'service.name of the resource';
COMMENT ON COLUMN log_rollups.debug IS 'Records of level DEBUG';
COMMENT ON COLUMN log_rollups.info IS 'Records of level INFO';
COMMENT ON COLUMN log_rollups.warn IS 'Records of level WARN';
COMMENT ON COLUMN log_rollups.error IS 'Records of level ERROR';
COMMENT ON COLUMN log_rollups.trace_hashes IS 'Hashes (63 bits) of the trace ids of the records, ascending, each once: all below the threshold';
COMMENT ON COLUMN log_rollups.threshold IS 'Hashes from here on were left out; NULL when none was. The number of traces is then that of the hashes / (threshold / 2^63)';

-- Ready answers for the last hour, so that a page does not merge sixty minutes of every operation.
CREATE TABLE operations_last_hour (
    tenant_id       integer NOT NULL DEFAULT 0,
    service_name    text NOT NULL,
    operation_name  text NOT NULL,
    calls           bigint NOT NULL,
    errors          bigint NOT NULL,
    duration_ns_sum numeric NOT NULL,
    duration_ns_max bigint NOT NULL,
    buckets         smallint[] NOT NULL,
    counts          bigint[] NOT NULL,
    percentiles_ns  double precision[] NOT NULL,
    PRIMARY KEY (tenant_id, service_name, operation_name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

COMMENT ON TABLE  operations_last_hour IS 'span_rollups of the minutes from rollup_state.last_hour_start on, by operation';
COMMENT ON COLUMN operations_last_hour.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN operations_last_hour.service_name IS 'service.name of the resource';
COMMENT ON COLUMN operations_last_hour.operation_name IS 'Span name, its first 255 characters';
COMMENT ON COLUMN operations_last_hour.calls IS 'Spans';
COMMENT ON COLUMN operations_last_hour.errors IS 'Of them with status error';
COMMENT ON COLUMN operations_last_hour.duration_ns_sum IS 'Sum of their durations in nanoseconds';
COMMENT ON COLUMN operations_last_hour.duration_ns_max IS 'The longest duration in nanoseconds';
COMMENT ON COLUMN operations_last_hour.buckets IS 'Buckets of the durations, as in span_rollups';
COMMENT ON COLUMN operations_last_hour.counts IS 'Spans in each of the buckets';
COMMENT ON COLUMN operations_last_hour.percentiles_ns IS 'The 50th, 95th and 99th percentile of the duration in nanoseconds';

CREATE TABLE logs_last_hour (
    tenant_id    integer NOT NULL DEFAULT 0,
    service_name text NOT NULL,
    error        bigint NOT NULL,
    trace_hashes bigint[] NOT NULL,
    threshold    bigint,
    PRIMARY KEY (tenant_id, service_name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

COMMENT ON TABLE  logs_last_hour IS 'log_rollups of the minutes from rollup_state.last_hour_start on, by service';
COMMENT ON COLUMN logs_last_hour.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN logs_last_hour.service_name IS 'service.name of the resource';
COMMENT ON COLUMN logs_last_hour.error IS 'Records of level ERROR';
COMMENT ON COLUMN logs_last_hour.trace_hashes IS 'Hashes of the trace ids of the records, as in log_rollups';
COMMENT ON COLUMN logs_last_hour.threshold IS 'Hashes from here on were left out; NULL when none was';

CREATE TABLE rollup_state (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_hour_start timestamptz
);
INSERT INTO rollup_state DEFAULT VALUES;

COMMENT ON TABLE  rollup_state IS 'How far the job that merges roll-ups has come; one row';
COMMENT ON COLUMN rollup_state.only_row IS 'Always true: there is one row';
COMMENT ON COLUMN rollup_state.last_hour_start IS 'The first minute in operations_last_hour and logs_last_hour; moved every minute. NULL before the first run';

CREATE TABLE service_operations (
    tenant_id      integer NOT NULL DEFAULT 0,
    service_name   text NOT NULL,
    operation_name text NOT NULL,
    kind           text NOT NULL,
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, service_name, operation_name, kind)
) WITH (fillfactor = 70);

COMMENT ON TABLE  service_operations IS 'Every service that sent spans, with its operations';
COMMENT ON COLUMN service_operations.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_operations.service_name IS 'service.name of the resource';
COMMENT ON COLUMN service_operations.operation_name IS 'Span name, its first 255 characters';
COMMENT ON COLUMN service_operations.kind IS 'unspecified, internal, server, client, producer or consumer';
COMMENT ON COLUMN service_operations.first_seen IS 'The earliest minute that has spans of it';
COMMENT ON COLUMN service_operations.last_seen IS 'The latest minute that has spans of it';

-- Who calls whom: the edges of the service map.
CREATE TABLE service_edges (
    minute          timestamptz NOT NULL,
    minutes         smallint NOT NULL DEFAULT 1 CHECK (minutes IN (1, 60)),
    tenant_id       integer NOT NULL DEFAULT 0,
    parent_service  text NOT NULL,
    child_service   text NOT NULL,
    calls           bigint NOT NULL,
    errors          bigint NOT NULL,
    duration_ns_sum numeric NOT NULL,
    PRIMARY KEY (minute, minutes, tenant_id, parent_service, child_service)
);

COMMENT ON TABLE  service_edges IS 'Calls from one service to another, by minute: server and consumer spans whose parent is a span of another service';
COMMENT ON COLUMN service_edges.minute IS 'Beginning of the time in which the called spans begin, UTC';
COMMENT ON COLUMN service_edges.minutes IS 'Length of that time: 1, or 60 after two days';
COMMENT ON COLUMN service_edges.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_edges.parent_service IS 'The service that calls';
COMMENT ON COLUMN service_edges.child_service IS 'The service that is called';
COMMENT ON COLUMN service_edges.calls IS 'Calls; an estimate for a minute with very many, of which a part was looked at';
COMMENT ON COLUMN service_edges.errors IS 'Of them with status error';
COMMENT ON COLUMN service_edges.duration_ns_sum IS 'Sum of the durations of the called spans in nanoseconds';

CREATE TABLE service_edge_minutes (
    minute      timestamptz PRIMARY KEY,
    changed_at  timestamptz,
    computed_at timestamptz
);

COMMENT ON TABLE  service_edge_minutes IS 'Minutes whose edges were found, or have to be found (again) because spans came';
COMMENT ON COLUMN service_edge_minutes.minute IS 'The minute, UTC';
COMMENT ON COLUMN service_edge_minutes.changed_at IS 'When spans of it came that its edges do not know; NULL for none';
COMMENT ON COLUMN service_edge_minutes.computed_at IS 'When its edges were found last; NULL for never';

-- Percentiles of a histogram. The middle of a bucket is at most 0.55 % away from any value in it.
CREATE FUNCTION rollup_middle(bucket integer) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN bucket < 0 THEN 0 ELSE 1.0054151594159026 * 2.0 ^ (bucket / 64.0::double precision) END;

COMMENT ON FUNCTION rollup_middle IS 'The duration in nanoseconds that stands for a bucket of a roll-up';

CREATE FUNCTION rollup_percentiles(
    buckets smallint[], counts bigint[], highest bigint, fractions double precision[] DEFAULT '{0.5,0.95,0.99}'
) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    total  bigint := 0;
    upto   bigint := 0;
    place  integer := 0;
    result double precision[] := '{}';
    wanted double precision;
    below  bigint;
    low    double precision;
    high   double precision;
    one    bigint;
BEGIN
    FOREACH one IN ARRAY counts LOOP
        total := total + one;
    END LOOP;
    IF total = 0 THEN
        RETURN NULL;
    END IF;
    -- As percentile_cont does, between the two values around fraction * (total - 1). The last value is known exactly.
    FOR number IN 1 .. array_length(fractions, 1) LOOP
        wanted := fractions[number] * (total - 1);
        below := floor(wanted);
        WHILE upto <= below LOOP
            place := place + 1;
            upto := upto + counts[place];
        END LOOP;
        IF below = total - 1 THEN
            result := result || highest::double precision;
            CONTINUE;
        END IF;
        low := least(rollup_middle(buckets[place]), highest);
        IF below + 1 = total - 1 THEN
            high := highest;
        ELSIF upto > below + 1 THEN
            high := low;
        ELSE
            one := place + 1;
            WHILE counts[one] = 0 LOOP
                one := one + 1;
            END LOOP;
            high := least(rollup_middle(buckets[one::integer]), highest);
        END IF;
        result := result || (low + (wanted - below) * (high - low));
    END LOOP;
    RETURN result;
END
$$;

COMMENT ON FUNCTION rollup_percentiles IS 'Percentiles of the durations in a histogram, in nanoseconds, for ascending fractions; at most 0.55 % away from the exact ones';

CREATE VIEW v_operation_minutes AS
SELECT r.minute, r.minutes, r.service_name, r.operation_name, r.kind, r.calls, r.errors,
       r.duration_ns_sum::double precision / r.calls / 1e6 AS avg_duration_ms,
       p.ns[1] / 1e6 AS p50_ms, p.ns[2] / 1e6 AS p95_ms, p.ns[3] / 1e6 AS p99_ms, r.duration_ns_max / 1e6 AS max_ms, r.tenant_id
FROM span_rollups r CROSS JOIN LATERAL (SELECT rollup_percentiles(r.buckets, r.counts, r.duration_ns_max) AS ns) p;

COMMENT ON VIEW   v_operation_minutes IS 'span_rollups with percentiles: how each operation did, minute by minute';
COMMENT ON COLUMN v_operation_minutes.minute IS 'Beginning of the time in which the spans begin';
COMMENT ON COLUMN v_operation_minutes.minutes IS 'Length of that time: 1, or 60 after two days';
COMMENT ON COLUMN v_operation_minutes.service_name IS 'service.name of the resource';
COMMENT ON COLUMN v_operation_minutes.operation_name IS 'Span name, its first 255 characters';
COMMENT ON COLUMN v_operation_minutes.kind IS 'unspecified, internal, server, client, producer or consumer';
COMMENT ON COLUMN v_operation_minutes.calls IS 'Spans';
COMMENT ON COLUMN v_operation_minutes.errors IS 'Of them with status error';
COMMENT ON COLUMN v_operation_minutes.avg_duration_ms IS 'Mean duration in milliseconds';
COMMENT ON COLUMN v_operation_minutes.p50_ms IS 'Median duration in milliseconds, within 0.55 %';
COMMENT ON COLUMN v_operation_minutes.p95_ms IS '95th percentile of the duration in milliseconds, within 0.55 %';
COMMENT ON COLUMN v_operation_minutes.p99_ms IS '99th percentile of the duration in milliseconds, within 0.55 %';
COMMENT ON COLUMN v_operation_minutes.max_ms IS 'The longest duration in milliseconds';
COMMENT ON COLUMN v_operation_minutes.tenant_id IS 'Tenant, 0 is the default tenant';

CREATE VIEW v_service_map AS
SELECT parent_service, child_service, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
       (sum(duration_ns_sum) / sum(calls) / 1e6)::double precision AS avg_duration_ms, tenant_id
FROM service_edges
WHERE minute > now() - interval '1 hour'
GROUP BY tenant_id, parent_service, child_service;

COMMENT ON VIEW   v_service_map IS 'Which service called which one in the last hour';
COMMENT ON COLUMN v_service_map.parent_service IS 'The service that calls';
COMMENT ON COLUMN v_service_map.child_service IS 'The service that is called';
COMMENT ON COLUMN v_service_map.calls IS 'Calls';
COMMENT ON COLUMN v_service_map.errors IS 'Of them with status error';
COMMENT ON COLUMN v_service_map.avg_duration_ms IS 'Mean duration of the called spans in milliseconds';
COMMENT ON COLUMN v_service_map.tenant_id IS 'Tenant, 0 is the default tenant';
