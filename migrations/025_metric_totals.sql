-- Deltas added up. A request that stores points of counters and histograms that came as deltas appends what it stored, in
-- its transaction; a job adds that to the totals a few seconds later. Each stored point counts once, whenever it comes.

-- Written by COPY, read and deleted by the job from the beginning. No index would earn its cost.
CREATE TABLE metric_delta_arrivals (
    tenant_id    integer NOT NULL DEFAULT 0,
    series_id    uuid NOT NULL,
    "timestamp"  timestamptz NOT NULL,
    timestamp_ns smallint NOT NULL DEFAULT 0,
    value        double precision
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

COMMENT ON TABLE  metric_delta_arrivals IS 'Stored points that came as deltas and are not in the totals yet; a job adds them a few seconds later';
COMMENT ON COLUMN metric_delta_arrivals.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_delta_arrivals.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_delta_arrivals."timestamp" IS 'Time of the point, as it is filed, to the microsecond';
COMMENT ON COLUMN metric_delta_arrivals.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN metric_delta_arrivals.value IS 'The value of a number; NULL for a distribution, which is read from its row';

CREATE TABLE metric_totals (
    tenant_id         integer NOT NULL DEFAULT 0,
    series_id         uuid NOT NULL,
    since             timestamptz NOT NULL,
    last_timestamp    timestamptz NOT NULL,
    last_timestamp_ns smallint NOT NULL,
    points            bigint NOT NULL,
    value             double precision,
    count             bigint,
    sum               double precision,
    explicit_bounds   double precision[],
    bucket_counts     bigint[],
    scale             integer,
    zero_count        bigint,
    zero_threshold    double precision,
    positive_offset   integer,
    positive_counts   bigint[],
    negative_offset   integer,
    negative_counts   bigint[],
    PRIMARY KEY (series_id, tenant_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  metric_totals IS 'Everything that a series of deltas ever counted: what a cumulative counter or histogram would say';
COMMENT ON COLUMN metric_totals.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_totals.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_totals.since IS 'When counting began: the time of the earliest point';
COMMENT ON COLUMN metric_totals.last_timestamp IS 'Time of the latest point in it, to the microsecond';
COMMENT ON COLUMN metric_totals.last_timestamp_ns IS 'Nanoseconds beyond last_timestamp, 0 to 999';
COMMENT ON COLUMN metric_totals.points IS 'Number of points in it';
COMMENT ON COLUMN metric_totals.value IS 'Counter: sum of the values';
COMMENT ON COLUMN metric_totals.count IS 'Distributions: number of measurements';
COMMENT ON COLUMN metric_totals.sum IS 'Distributions: sum of the measurements, NULL when a point had none';
COMMENT ON COLUMN metric_totals.explicit_bounds IS 'Histogram: upper bounds that all its points had';
COMMENT ON COLUMN metric_totals.bucket_counts IS 'Histogram: measurements in each bucket, one more than bounds';
COMMENT ON COLUMN metric_totals.scale IS 'Exponential histogram: the least scale of its points, or less where the range is wide';
COMMENT ON COLUMN metric_totals.zero_count IS 'Exponential histogram: measurements within zero_threshold of 0';
COMMENT ON COLUMN metric_totals.zero_threshold IS 'Exponential histogram: the widest zero bucket of its points';
COMMENT ON COLUMN metric_totals.positive_offset IS 'Exponential histogram: index of the first positive bucket';
COMMENT ON COLUMN metric_totals.positive_counts IS 'Exponential histogram: counts of the positive buckets';
COMMENT ON COLUMN metric_totals.negative_offset IS 'Exponential histogram: index of the first negative bucket';
COMMENT ON COLUMN metric_totals.negative_counts IS 'Exponential histogram: counts of the negative buckets';

CREATE TABLE metric_day_totals (
    tenant_id integer NOT NULL DEFAULT 0,
    series_id uuid NOT NULL,
    day       date NOT NULL,
    points    bigint NOT NULL,
    value     double precision NOT NULL,
    PRIMARY KEY (series_id, tenant_id, day)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  metric_day_totals IS 'What a series of deltas counted on each day that is kept, so that the total at an old time needs no reading from there to now';
COMMENT ON COLUMN metric_day_totals.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_day_totals.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_day_totals.day IS 'The day of the points, UTC';
COMMENT ON COLUMN metric_day_totals.points IS 'Number of points';
COMMENT ON COLUMN metric_day_totals.value IS 'Counter: sum of the values';

-- As it was, and what is inserted as deltas counts, too.
CREATE OR REPLACE FUNCTION service_metrics_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant integer := COALESCE(NEW.tenant_id, 0);
    kind   text    := COALESCE(NEW.metric_type, 'gauge');
    labels jsonb   := COALESCE(NEW.labels, '{}');
    series uuid;
BEGIN
    IF NEW.service_name IS NULL OR NEW.metric_name IS NULL THEN
        RAISE EXCEPTION 'service_metrics needs service_name and metric_name' USING ERRCODE = '23502';
    END IF;
    IF kind NOT IN ('counter', 'updowncounter', 'gauge') THEN
        RAISE EXCEPTION 'metric_type % cannot be inserted here: only counter, updowncounter and gauge have a single value', kind
            USING ERRCODE = '22023', HINT = 'Send histograms and summaries by OTLP.';
    END IF;
    series := md5(jsonb_build_array('sql', tenant, NEW.service_name, NEW.metric_name, kind, labels)::text)::uuid;
    INSERT INTO metric_series (tenant_id, series_id, service_name, metric_name, metric_type, unit, temporality, is_monotonic, labels)
    VALUES (tenant, series, left(NEW.service_name, 255), NEW.metric_name, kind, COALESCE(NEW.unit, ''),
            CASE WHEN kind <> 'gauge' THEN COALESCE(NEW.temporality, 'cumulative') END,
            CASE kind WHEN 'counter' THEN true WHEN 'updowncounter' THEN false END, labels)
    ON CONFLICT (tenant_id, series_id) DO UPDATE SET last_seen = now() WHERE metric_series.last_seen < now() - interval '1 hour';
    NEW.id := nextval('metric_samples_id_seq');
    NEW."timestamp" := COALESCE(NEW."timestamp", now());
    INSERT INTO metric_samples (tenant_id, id, series_id, "timestamp", value)
    VALUES (tenant, NEW.id, series, NEW."timestamp", NEW.metric_value);
    IF kind = 'counter' AND NEW.metric_value IS NOT NULL
       AND (SELECT s.temporality = 'delta' FROM metric_series s WHERE s.tenant_id = tenant AND s.series_id = series) THEN
        INSERT INTO metric_delta_arrivals (tenant_id, series_id, "timestamp", value)
        VALUES (tenant, series, NEW."timestamp", NEW.metric_value);
    END IF;
    NEW.series_id := series; NEW.tenant_id := tenant; NEW.metric_type := kind; NEW.labels := labels;
    RETURN NEW;
END $$;
