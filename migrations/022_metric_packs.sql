-- Samples of a closed partition, many of a series in one row. What grows or falls evenly is a line, first + n * step,
-- with an array of what each sample lies beside it; a column that is the line itself has no array.
CREATE TABLE metric_packs (
    tenant_id           integer NOT NULL DEFAULT 0,
    series_id           uuid NOT NULL,
    "timestamp"         timestamptz NOT NULL,
    last_timestamp      timestamptz NOT NULL,
    last_received_at    timestamptz NOT NULL,
    count               integer NOT NULL,
    first_id            bigint NOT NULL,
    id_step             bigint NOT NULL,
    id_shifts           integer[],
    id_long_shifts      bigint[],
    time_step           bigint NOT NULL,
    time_shifts         integer[],
    time_long_shifts    bigint[],
    nanoseconds         smallint[],
    integers            boolean NOT NULL,
    first_number        bigint,
    number_step         bigint,
    divisor             integer,
    number_short_shifts smallint[],
    number_shifts       integer[],
    number_long_shifts  bigint[],
    doubles             double precision[],
    start_time          timestamptz,
    start_step          bigint,
    start_shifts        integer[],
    start_long_shifts   bigint[],
    start_nanoseconds   smallint[],
    received_delay      integer,
    received_delays     integer[],
    exemplars           jsonb[],
    duplicates          timestamptz[]
) PARTITION BY RANGE ("timestamp");
CREATE INDEX metric_packs_series_time_idx ON metric_packs (series_id, "timestamp");

COMMENT ON TABLE  metric_packs IS 'Samples of sealed partitions, up to some hundred of a series in a row; v_metric_samples shows each';
COMMENT ON COLUMN metric_packs.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_packs.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_packs."timestamp" IS 'Time of the first sample';
COMMENT ON COLUMN metric_packs.last_timestamp IS 'Time of the last sample';
COMMENT ON COLUMN metric_packs.last_received_at IS 'When the last of them to come was received';
COMMENT ON COLUMN metric_packs.count IS 'Number of samples, by time, n = 0, 1, 2 …; every array has one element for each';
COMMENT ON COLUMN metric_packs.first_id IS 'Row number of the first sample';
COMMENT ON COLUMN metric_packs.id_step IS 'The row number of sample n is first_id + n * id_step + its shift';
COMMENT ON COLUMN metric_packs.id_shifts IS 'Shifts of row numbers; NULL where all are 0, or long';
COMMENT ON COLUMN metric_packs.id_long_shifts IS 'The same, where one needs more than four bytes';
COMMENT ON COLUMN metric_packs.time_step IS 'Microseconds: the time of sample n is timestamp + n * time_step + its shift';
COMMENT ON COLUMN metric_packs.time_shifts IS 'Shifts of times, microseconds; NULL where all are 0, or long';
COMMENT ON COLUMN metric_packs.time_long_shifts IS 'The same, where one needs more than four bytes';
COMMENT ON COLUMN metric_packs.nanoseconds IS 'Nanoseconds beyond the microseconds, 0 to 999; NULL where all are 0';
COMMENT ON COLUMN metric_packs.integers IS 'Whether the samples are integers, which have value_int';
COMMENT ON COLUMN metric_packs.first_number IS 'The value of sample n is (first_number + n * number_step + its shift) / divisor; NULL where doubles has the values';
COMMENT ON COLUMN metric_packs.number_step IS 'See first_number';
COMMENT ON COLUMN metric_packs.divisor IS '1, 10, 100 or 1000: values of few decimals are whole numbers, divided';
COMMENT ON COLUMN metric_packs.number_short_shifts IS 'Shifts of numbers where all fit into two bytes; NULL where all are 0';
COMMENT ON COLUMN metric_packs.number_shifts IS 'The same, where one needs four bytes';
COMMENT ON COLUMN metric_packs.number_long_shifts IS 'The same, where one needs eight bytes';
COMMENT ON COLUMN metric_packs.doubles IS 'The values, where they are no numbers of few decimals';
COMMENT ON COLUMN metric_packs.start_time IS 'Start of the interval of the first sample; NULL where none has one';
COMMENT ON COLUMN metric_packs.start_step IS 'Microseconds: the start of sample n is start_time + n * start_step + its shift';
COMMENT ON COLUMN metric_packs.start_shifts IS 'Shifts of starts, microseconds; NULL where all are 0, or long';
COMMENT ON COLUMN metric_packs.start_long_shifts IS 'The same, where one needs more than four bytes';
COMMENT ON COLUMN metric_packs.start_nanoseconds IS 'Nanoseconds beyond the microseconds of starts; NULL where all are 0';
COMMENT ON COLUMN metric_packs.received_delay IS 'Seconds from the second of a sample to that in which it was received; NULL where they differ';
COMMENT ON COLUMN metric_packs.received_delays IS 'The same for each sample, where they differ';
COMMENT ON COLUMN metric_packs.exemplars IS 'Exemplars of each sample, as in metric_samples; NULL where none has any';
COMMENT ON COLUMN metric_packs.duplicates IS 'When samples were received that are not kept, because there was one of their series and time already';

-- The planner puts the statement in place of the call: what is not asked for is not computed.
CREATE FUNCTION unpacked(pack metric_packs)
RETURNS TABLE (id bigint, "timestamp" timestamptz, timestamp_ns smallint, value double precision, value_int bigint,
               start_time timestamptz, start_ns smallint, exemplars jsonb, received_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 300 AS $$
    SELECT pack.first_id + u.n * pack.id_step + COALESCE(u.id_shift, u.id_long_shift, 0),
           pack."timestamp"
           + (u.n * pack.time_step + COALESCE(u.time_shift, u.time_long_shift, 0)) * interval '1 microsecond',
           COALESCE(u.ns, 0::smallint),
           COALESCE(
               u.double,
               (pack.first_number + u.n * pack.number_step
                + COALESCE(u.short_shift, u.number_shift, u.number_long_shift, 0)) / pack.divisor::double precision
           ),
           CASE WHEN pack.integers THEN
               pack.first_number + u.n * pack.number_step
               + COALESCE(u.short_shift, u.number_shift, u.number_long_shift, 0)
           END,
           pack.start_time
           + (u.n * pack.start_step + COALESCE(u.start_shift, u.start_long_shift, 0)) * interval '1 microsecond',
           CASE WHEN pack.start_time IS NOT NULL THEN COALESCE(u.start_ns, 0::smallint) END,
           u.exemplars,
           date_trunc(
               'second',
               pack."timestamp"
               + (u.n * pack.time_step + COALESCE(u.time_shift, u.time_long_shift, 0)) * interval '1 microsecond'
           ) + COALESCE(u.delay, pack.received_delay) * interval '1 second'
    FROM ROWS FROM (
        generate_series(0, pack.count - 1), unnest(pack.id_shifts), unnest(pack.id_long_shifts),
        unnest(pack.time_shifts), unnest(pack.time_long_shifts), unnest(pack.nanoseconds),
        unnest(pack.number_short_shifts), unnest(pack.number_shifts), unnest(pack.number_long_shifts),
        unnest(pack.doubles), unnest(pack.start_shifts), unnest(pack.start_long_shifts),
        unnest(pack.start_nanoseconds), unnest(pack.received_delays), unnest(pack.exemplars)
    ) AS u (n, id_shift, id_long_shift, time_shift, time_long_shift, ns, short_shift, number_shift, number_long_shift,
            double, start_shift, start_long_shift, start_ns, delay, exemplars)
$$;
COMMENT ON FUNCTION unpacked(metric_packs) IS 'The samples of a pack, as rows of metric_samples';

CREATE VIEW v_metric_samples AS
SELECT tenant_id, id, series_id, "timestamp", timestamp_ns, value, value_int, start_time, start_ns, flags, exemplars,
       point_raw, received_at, original_time_unix_nano
FROM metric_samples
UNION ALL
SELECT p.tenant_id, s.id, p.series_id, s."timestamp", s.timestamp_ns, s.value, s.value_int, s.start_time, s.start_ns,
       NULL::bigint, s.exemplars, NULL::bytea, s.received_at, NULL::numeric(20, 0)
FROM metric_packs p CROSS JOIN LATERAL unpacked(p) s;

COMMENT ON VIEW   v_metric_samples IS 'All samples of gauges and sums: rows of metric_samples and what metric_packs holds';
COMMENT ON COLUMN v_metric_samples.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN v_metric_samples.id IS 'Row number, unique over both sample tables, not gapless';
COMMENT ON COLUMN v_metric_samples.series_id IS 'The series in metric_series';
COMMENT ON COLUMN v_metric_samples."timestamp" IS 'Time of the point, to the microsecond; the receive time where original_time_unix_nano is set';
COMMENT ON COLUMN v_metric_samples.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN v_metric_samples.value IS 'The value; NULL for a point without a recorded value';
COMMENT ON COLUMN v_metric_samples.value_int IS 'The exact value of an integer point';
COMMENT ON COLUMN v_metric_samples.start_time IS 'Start of the interval the point covers, NULL when not given';
COMMENT ON COLUMN v_metric_samples.start_ns IS 'Nanoseconds beyond start_time, 0 to 999';
COMMENT ON COLUMN v_metric_samples.flags IS 'Data point flags of OTLP, NULL for 0; bit 0 is NoRecordedValue';
COMMENT ON COLUMN v_metric_samples.exemplars IS 'Array of {time_unix_nano, value, trace_id, span_id, filtered_attributes}';
COMMENT ON COLUMN v_metric_samples.point_raw IS 'OTLP NumberDataPoint without attributes, only where the columns cannot reproduce it exactly';
COMMENT ON COLUMN v_metric_samples.received_at IS 'When Ares received the point; of a packed one to the second';
COMMENT ON COLUMN v_metric_samples.original_time_unix_nano IS 'time_unix_nano as sent, only where the point is filed under its receive time instead';

-- Each part has its own join: a part that is a join itself could not be looked into by the series from outside.
CREATE OR REPLACE VIEW service_metrics AS
SELECT p.id, s.service_name, s.metric_name, s.metric_type, p.value AS metric_value, s.labels, p."timestamp", s.unit,
       s.temporality, NULL::bigint AS count, NULL::double precision AS sum, NULL::double precision AS min,
       NULL::double precision AS max, p.tenant_id, p.series_id
FROM metric_samples p JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id
UNION ALL
SELECT u.id, s.service_name, s.metric_name, s.metric_type, u.value, s.labels, u."timestamp", s.unit,
       s.temporality, NULL, NULL, NULL, NULL, k.tenant_id, k.series_id
FROM metric_packs k JOIN metric_series s ON s.tenant_id = k.tenant_id AND s.series_id = k.series_id
CROSS JOIN LATERAL unpacked(k) u
UNION ALL
SELECT p.id, s.service_name, s.metric_name, s.metric_type, p.value, s.labels, p."timestamp", s.unit,
       s.temporality, p.count, p.sum, p.min, p.max, p.tenant_id, p.series_id
FROM metric_distributions p JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id;

-- A view cannot tell the time of a pack from a condition on the time of its samples: it unpacks all that the series have
-- which it is asked for. Here the two times are arguments, and packs of other times are not touched. No pack is longer
-- than a day.
CREATE FUNCTION service_metrics_between(since timestamptz, until timestamptz)
RETURNS TABLE (id bigint, service_name text, metric_name text, metric_type text, metric_value double precision, labels jsonb,
               "timestamp" timestamptz, unit text, temporality text, count bigint, sum double precision,
               min double precision, max double precision, tenant_id integer, series_id uuid)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT p.id, s.service_name, s.metric_name, s.metric_type, p.value AS metric_value, s.labels, p."timestamp", s.unit,
           s.temporality, NULL::bigint AS count, NULL::double precision AS sum, NULL::double precision AS min,
           NULL::double precision AS max, p.tenant_id, p.series_id
    FROM metric_samples p JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id
    WHERE p."timestamp" >= since AND p."timestamp" < until
    UNION ALL
    SELECT u.id, s.service_name, s.metric_name, s.metric_type, u.value, s.labels, u."timestamp", s.unit,
           s.temporality, NULL, NULL, NULL, NULL, k.tenant_id, k.series_id
    FROM metric_packs k JOIN metric_series s ON s.tenant_id = k.tenant_id AND s.series_id = k.series_id
    CROSS JOIN LATERAL unpacked(k) u
    WHERE k."timestamp" >= since - interval '1 day' AND k."timestamp" < until AND k.last_timestamp >= since
      AND u."timestamp" >= since AND u."timestamp" < until
    UNION ALL
    SELECT p.id, s.service_name, s.metric_name, s.metric_type, p.value, s.labels, p."timestamp", s.unit,
           s.temporality, p.count, p.sum, p.min, p.max, p.tenant_id, p.series_id
    FROM metric_distributions p JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id
    WHERE p."timestamp" >= since AND p."timestamp" < until
$$;
COMMENT ON FUNCTION service_metrics_between(timestamptz, timestamptz) IS
    'service_metrics from a time on, before another: reads only packs of that time, which the view cannot';
COMMENT ON VIEW service_metrics IS 'Metric data points with the identity of their series; INSERT works for gauges and counters. For a range of time use service_metrics_between(since, until): a condition on timestamp alone unpacks all that metric_packs has of the chosen series';
