-- Samples of metric series: numbers in one table, distributions in another, one view over both.
CREATE SEQUENCE metric_samples_id_seq CACHE 64;
CREATE TABLE metric_samples (
    tenant_id               integer NOT NULL DEFAULT 0,
    id                      bigint NOT NULL DEFAULT nextval('metric_samples_id_seq'),
    series_id               uuid NOT NULL,
    "timestamp"             timestamptz NOT NULL,
    timestamp_ns            smallint NOT NULL DEFAULT 0,
    value                   double precision,
    value_int               bigint,
    start_time              timestamptz,
    start_ns                smallint,
    flags                   bigint,
    exemplars               jsonb,
    point_raw               bytea,
    received_at             timestamptz NOT NULL DEFAULT now(),
    original_time_unix_nano numeric(20, 0)
) PARTITION BY RANGE ("timestamp");
CREATE INDEX metric_samples_series_time_idx ON metric_samples (series_id, "timestamp");
CREATE INDEX metric_samples_time_idx ON metric_samples USING brin ("timestamp") WITH (pages_per_range = 32);

COMMENT ON TABLE  metric_samples IS 'Data points of gauges and sums';
COMMENT ON COLUMN metric_samples.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_samples.id IS 'Row number, unique over both sample tables, not gapless';
COMMENT ON COLUMN metric_samples.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_samples."timestamp" IS 'Time of the point, to the microsecond; the receive time where original_time_unix_nano is set';
COMMENT ON COLUMN metric_samples.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN metric_samples.value IS 'The value; NULL for a point without a recorded value';
COMMENT ON COLUMN metric_samples.value_int IS 'The exact value of an integer point';
COMMENT ON COLUMN metric_samples.start_time IS 'Start of the interval the point covers, NULL when not given';
COMMENT ON COLUMN metric_samples.start_ns IS 'Nanoseconds beyond start_time, 0 to 999';
COMMENT ON COLUMN metric_samples.flags IS 'Data point flags of OTLP, NULL for 0; bit 0 is NoRecordedValue';
COMMENT ON COLUMN metric_samples.exemplars IS 'Array of {time_unix_nano, value, trace_id, span_id, filtered_attributes}';
COMMENT ON COLUMN metric_samples.point_raw IS 'OTLP NumberDataPoint without attributes, only where the columns cannot reproduce it exactly';
COMMENT ON COLUMN metric_samples.received_at IS 'When Ares received the point';
COMMENT ON COLUMN metric_samples.original_time_unix_nano IS 'time_unix_nano as sent, only where the point is filed under its receive time instead';

CREATE TABLE metric_distributions (
    tenant_id               integer NOT NULL DEFAULT 0,
    id                      bigint NOT NULL DEFAULT nextval('metric_samples_id_seq'),
    series_id               uuid NOT NULL,
    "timestamp"             timestamptz NOT NULL,
    timestamp_ns            smallint NOT NULL DEFAULT 0,
    value                   double precision,
    count                   bigint NOT NULL,
    sum                     double precision,
    min                     double precision,
    max                     double precision,
    explicit_bounds         double precision[],
    bucket_counts           bigint[],
    scale                   integer,
    zero_count              bigint,
    zero_threshold          double precision,
    positive_offset         integer,
    positive_counts         bigint[],
    negative_offset         integer,
    negative_counts         bigint[],
    quantiles               double precision[],
    quantile_values         double precision[],
    start_time              timestamptz,
    start_ns                smallint,
    flags                   bigint,
    exemplars               jsonb,
    point_raw               bytea,
    received_at             timestamptz NOT NULL DEFAULT now(),
    original_time_unix_nano numeric(20, 0)
) PARTITION BY RANGE ("timestamp");
CREATE INDEX metric_distributions_series_time_idx ON metric_distributions (series_id, "timestamp");
CREATE INDEX metric_distributions_time_idx ON metric_distributions USING brin ("timestamp") WITH (pages_per_range = 32);

COMMENT ON TABLE  metric_distributions IS 'Data points of histograms, exponential histograms and summaries';
COMMENT ON COLUMN metric_distributions.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_distributions.id IS 'Row number, unique over both sample tables, not gapless';
COMMENT ON COLUMN metric_distributions.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_distributions."timestamp" IS 'Time of the point, to the microsecond; the receive time where original_time_unix_nano is set';
COMMENT ON COLUMN metric_distributions.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN metric_distributions.value IS 'The mean of the point, sum / count; NULL where it has none';
COMMENT ON COLUMN metric_distributions.count IS 'Number of measurements';
COMMENT ON COLUMN metric_distributions.sum IS 'Sum of the measurements, NULL when not given';
COMMENT ON COLUMN metric_distributions.min IS 'Least measurement, NULL when not given';
COMMENT ON COLUMN metric_distributions.max IS 'Greatest measurement, NULL when not given';
COMMENT ON COLUMN metric_distributions.explicit_bounds IS 'Histogram: upper bounds of the buckets but the last, inclusive';
COMMENT ON COLUMN metric_distributions.bucket_counts IS 'Histogram: measurements in each bucket, one more than bounds';
COMMENT ON COLUMN metric_distributions.scale IS 'Exponential histogram: base is 2^(2^-scale)';
COMMENT ON COLUMN metric_distributions.zero_count IS 'Exponential histogram: measurements within zero_threshold of 0';
COMMENT ON COLUMN metric_distributions.zero_threshold IS 'Exponential histogram: width of the zero bucket';
COMMENT ON COLUMN metric_distributions.positive_offset IS 'Exponential histogram: index of the first positive bucket, NULL when there is no positive range';
COMMENT ON COLUMN metric_distributions.positive_counts IS 'Exponential histogram: counts of the positive buckets';
COMMENT ON COLUMN metric_distributions.negative_offset IS 'Exponential histogram: index of the first negative bucket, NULL when there is no negative range';
COMMENT ON COLUMN metric_distributions.negative_counts IS 'Exponential histogram: counts of the negative buckets';
COMMENT ON COLUMN metric_distributions.quantiles IS 'Summary: quantiles, 0 to 1';
COMMENT ON COLUMN metric_distributions.quantile_values IS 'Summary: value at each quantile';
COMMENT ON COLUMN metric_distributions.start_time IS 'Start of the interval the point covers, NULL when not given';
COMMENT ON COLUMN metric_distributions.start_ns IS 'Nanoseconds beyond start_time, 0 to 999';
COMMENT ON COLUMN metric_distributions.flags IS 'Data point flags of OTLP, NULL for 0; bit 0 is NoRecordedValue';
COMMENT ON COLUMN metric_distributions.exemplars IS 'Array of {time_unix_nano, value, trace_id, span_id, filtered_attributes}';
COMMENT ON COLUMN metric_distributions.point_raw IS 'OTLP data point without attributes, only where the columns cannot reproduce it exactly';
COMMENT ON COLUMN metric_distributions.received_at IS 'When Ares received the point';
COMMENT ON COLUMN metric_distributions.original_time_unix_nano IS 'time_unix_nano as sent, only where the point is filed under its receive time instead';

CREATE VIEW service_metrics AS
SELECT p.id, s.service_name, s.metric_name, s.metric_type, p.value AS metric_value, s.labels, p."timestamp",
       s.unit, s.temporality, p.count, p.sum, p.min, p.max, p.tenant_id, p.series_id
FROM (
    SELECT tenant_id, id, series_id, "timestamp", value,
           NULL::bigint AS count, NULL::double precision AS sum, NULL::double precision AS min, NULL::double precision AS max
    FROM metric_samples
    UNION ALL
    SELECT tenant_id, id, series_id, "timestamp", value, count, sum, min, max
    FROM metric_distributions
) p
JOIN metric_series s ON s.tenant_id = p.tenant_id AND s.series_id = p.series_id;

COMMENT ON VIEW   service_metrics IS 'Metric data points with the identity of their series; INSERT works for gauges and counters';
COMMENT ON COLUMN service_metrics.id IS 'Row number';
COMMENT ON COLUMN service_metrics.service_name IS 'service.name of the sender';
COMMENT ON COLUMN service_metrics.metric_name IS 'Metric name as it came';
COMMENT ON COLUMN service_metrics.metric_type IS 'counter, updowncounter, gauge, histogram, exponential_histogram or summary';
COMMENT ON COLUMN service_metrics.metric_value IS 'The value; for distributions the mean of the point';
COMMENT ON COLUMN service_metrics.labels IS 'Attributes of the data point';
COMMENT ON COLUMN service_metrics."timestamp" IS 'Time of the point';
COMMENT ON COLUMN service_metrics.unit IS 'Unit (UCUM)';
COMMENT ON COLUMN service_metrics.temporality IS 'delta or cumulative; NULL for gauges and summaries';
COMMENT ON COLUMN service_metrics.count IS 'Distributions: number of measurements';
COMMENT ON COLUMN service_metrics.sum IS 'Distributions: sum of the measurements';
COMMENT ON COLUMN service_metrics.min IS 'Distributions: least measurement';
COMMENT ON COLUMN service_metrics.max IS 'Distributions: greatest measurement';
COMMENT ON COLUMN service_metrics.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_metrics.series_id IS 'The series in metric_series';

CREATE FUNCTION service_metrics_insert() RETURNS trigger LANGUAGE plpgsql AS $$
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
    NEW.series_id := series; NEW.tenant_id := tenant; NEW.metric_type := kind; NEW.labels := labels;
    RETURN NEW;
END $$;
CREATE TRIGGER service_metrics_insert INSTEAD OF INSERT ON service_metrics
    FOR EACH ROW EXECUTE FUNCTION service_metrics_insert();
COMMENT ON FUNCTION service_metrics_insert() IS 'INSERT INTO service_metrics: finds or makes the series, then adds the sample';
