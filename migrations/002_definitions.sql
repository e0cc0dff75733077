-- What telemetry rows refer to: attribute sets stored once, under a 128-bit hash of their content that the row
-- encoder computes, so that a writer never waits for a lookup. No foreign keys: rows and definitions expire together.
CREATE TABLE otel_resources (
    tenant_id                integer NOT NULL DEFAULT 0,
    resource_id              uuid NOT NULL,
    service_name             text NOT NULL,
    attributes               jsonb,
    attributes_raw           bytea,
    dropped_attributes_count bigint,
    schema_url               text NOT NULL DEFAULT '',
    entity_refs              bytea,
    first_seen               timestamptz NOT NULL DEFAULT now(),
    last_seen                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, resource_id)
);

COMMENT ON TABLE  otel_resources IS 'Resources (what sent the telemetry), each stored once';
COMMENT ON COLUMN otel_resources.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN otel_resources.resource_id IS 'Hash of tenant, schema URL and the canonical attributes';
COMMENT ON COLUMN otel_resources.service_name IS 'service.name, at most 255 characters; the whole of it is in attributes';
COMMENT ON COLUMN otel_resources.attributes IS 'Resource attributes; NULL when the sender sent no resource at all';
COMMENT ON COLUMN otel_resources.attributes_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the attributes exactly';
COMMENT ON COLUMN otel_resources.dropped_attributes_count IS 'Attributes the sender dropped, NULL for none';
COMMENT ON COLUMN otel_resources.schema_url IS 'Schema URL of the ResourceSpans, ResourceLogs or ResourceMetrics';
COMMENT ON COLUMN otel_resources.entity_refs IS 'OTLP Resource message with only entity_refs, NULL when there are none';
COMMENT ON COLUMN otel_resources.first_seen IS 'When a row first referred to it';
COMMENT ON COLUMN otel_resources.last_seen IS 'Written again at least once a partition period while in use';

CREATE TABLE otel_scopes (
    tenant_id                integer NOT NULL DEFAULT 0,
    scope_id                 uuid NOT NULL,
    name                     text,
    version                  text NOT NULL DEFAULT '',
    attributes               jsonb NOT NULL DEFAULT '{}',
    attributes_raw           bytea,
    dropped_attributes_count bigint,
    schema_url               text NOT NULL DEFAULT '',
    first_seen               timestamptz NOT NULL DEFAULT now(),
    last_seen                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, scope_id)
);

COMMENT ON TABLE  otel_scopes IS 'Instrumentation scopes (which library made the telemetry), each stored once';
COMMENT ON COLUMN otel_scopes.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN otel_scopes.scope_id IS 'Hash of tenant, schema URL, name, version and the canonical attributes';
COMMENT ON COLUMN otel_scopes.name IS 'Scope name; NULL when the sender sent no scope at all';
COMMENT ON COLUMN otel_scopes.version IS 'Scope version';
COMMENT ON COLUMN otel_scopes.attributes IS 'Scope attributes';
COMMENT ON COLUMN otel_scopes.attributes_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the attributes exactly';
COMMENT ON COLUMN otel_scopes.dropped_attributes_count IS 'Attributes the sender dropped, NULL for none';
COMMENT ON COLUMN otel_scopes.schema_url IS 'Schema URL of the ScopeSpans, ScopeLogs or ScopeMetrics';
COMMENT ON COLUMN otel_scopes.first_seen IS 'When a row first referred to it';
COMMENT ON COLUMN otel_scopes.last_seen IS 'Written again at least once a partition period while in use';

CREATE TABLE metric_series (
    tenant_id      integer NOT NULL DEFAULT 0,
    series_id      uuid NOT NULL,
    service_name   text NOT NULL,
    metric_name    text NOT NULL,
    metric_type    text NOT NULL,
    unit           text NOT NULL DEFAULT '',
    description    text NOT NULL DEFAULT '',
    temporality    text,
    is_monotonic   boolean,
    labels         jsonb NOT NULL DEFAULT '{}',
    attributes_raw bytea,
    metadata       jsonb NOT NULL DEFAULT '{}',
    metadata_raw   bytea,
    resource_id    uuid,
    scope_id       uuid,
    first_seen     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, series_id)
);
-- A name may be a megabyte long, an index entry may not: the index holds a bounded prefix, queries test both.
CREATE INDEX metric_series_name_idx ON metric_series (left(metric_name, 255), service_name);
CREATE INDEX metric_series_service_idx ON metric_series (service_name);

COMMENT ON TABLE  metric_series IS 'Identity of each metric time series, stored once';
COMMENT ON COLUMN metric_series.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_series.series_id IS 'Hash of everything else that identifies the series';
COMMENT ON COLUMN metric_series.service_name IS 'service.name of the resource, at most 255 characters';
COMMENT ON COLUMN metric_series.metric_name IS 'Metric name as it came';
COMMENT ON COLUMN metric_series.metric_type IS 'counter, updowncounter, gauge, histogram, exponential_histogram or summary';
COMMENT ON COLUMN metric_series.unit IS 'Unit as it came (UCUM)';
COMMENT ON COLUMN metric_series.description IS 'Description as it came';
COMMENT ON COLUMN metric_series.temporality IS 'delta or cumulative; NULL for gauges and summaries';
COMMENT ON COLUMN metric_series.is_monotonic IS 'For sums: whether the value only grows; NULL for other types';
COMMENT ON COLUMN metric_series.labels IS 'Attributes of the data points';
COMMENT ON COLUMN metric_series.attributes_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the attributes exactly';
COMMENT ON COLUMN metric_series.metadata IS 'Metric.metadata of OTLP';
COMMENT ON COLUMN metric_series.metadata_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the metadata exactly';
COMMENT ON COLUMN metric_series.resource_id IS 'The resource in otel_resources';
COMMENT ON COLUMN metric_series.scope_id IS 'The scope in otel_scopes';
COMMENT ON COLUMN metric_series.first_seen IS 'When a sample first referred to it';
COMMENT ON COLUMN metric_series.last_seen IS 'Written again at least once a partition period while in use';
