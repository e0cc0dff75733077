-- What Prometheus knows of a metric beside its samples. It is no part of a series' identity: a text that is put right, or that
-- two jobs write differently, makes no new series.
CREATE TABLE prometheus_metadata (
    tenant_id   integer NOT NULL DEFAULT 0,
    metric_name text NOT NULL,
    digest      bytea NOT NULL,
    type        text NOT NULL,
    unit        text NOT NULL,
    help        text NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, metric_name, digest)
);
CREATE INDEX prometheus_metadata_seen_idx ON prometheus_metadata (last_seen);

COMMENT ON TABLE  prometheus_metadata IS 'Type, unit and description of metrics that came by remote write; several rows where senders say different things';
COMMENT ON COLUMN prometheus_metadata.tenant_id IS 'Tenant; 0 is the default';
COMMENT ON COLUMN prometheus_metadata.metric_name IS 'Name of the metric family: without _bucket, _sum and _count';
COMMENT ON COLUMN prometheus_metadata.digest IS 'Hash of type, unit and help';
COMMENT ON COLUMN prometheus_metadata.type IS 'counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown';
COMMENT ON COLUMN prometheus_metadata.unit IS 'Unit; empty where none was told';
COMMENT ON COLUMN prometheus_metadata.help IS 'Description, at most 4,096 characters; empty where none was told';
COMMENT ON COLUMN prometheus_metadata.first_seen IS 'When it was told first';
COMMENT ON COLUMN prometheus_metadata.last_seen IS 'When it was told last, to some hours; the row is deleted when the samples of that time are';
