-- One row a log record. Partitioned by time.
CREATE SEQUENCE service_logs_id_seq CACHE 64;
CREATE TABLE service_logs (
    tenant_id                integer NOT NULL DEFAULT 0,
    id                       bigint NOT NULL DEFAULT nextval('service_logs_id_seq'),
    trace_id                 uuid,
    span_id                  bytea,
    parent_span_id           bytea,
    service_name             text NOT NULL,
    log_level                text NOT NULL,
    severity_number          integer NOT NULL DEFAULT 0,
    severity_text            text,
    message                  text,
    body                     jsonb,
    body_raw                 bytea,
    metadata                 jsonb NOT NULL DEFAULT '{}',
    attributes_raw           bytea,
    "timestamp"              timestamptz NOT NULL,
    timestamp_ns             smallint NOT NULL DEFAULT 0,
    observed_timestamp       timestamptz,
    observed_ns              smallint,
    source_file              text,
    source_line              integer,
    event_name               text,
    flags                    bigint NOT NULL DEFAULT 0,
    dropped_attributes_count bigint,
    resource_id              uuid,
    scope_id                 uuid,
    received_at              timestamptz NOT NULL DEFAULT now(),
    original_time_unix_nano  numeric(20, 0)
) PARTITION BY RANGE ("timestamp");
CREATE INDEX service_logs_trace_id_idx ON service_logs (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX service_logs_service_time_idx ON service_logs (service_name, "timestamp", timestamp_ns, id);
CREATE INDEX service_logs_time_idx ON service_logs ("timestamp", timestamp_ns, id);
ALTER SEQUENCE service_logs_id_seq OWNED BY service_logs.id;

COMMENT ON TABLE  service_logs IS 'Log records, joined to traces by trace_id';
COMMENT ON COLUMN service_logs.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_logs.id IS 'Row number, unique but not gapless';
COMMENT ON COLUMN service_logs.trace_id IS 'Trace the record belongs to, NULL for none';
COMMENT ON COLUMN service_logs.span_id IS 'Span the record belongs to, 8 bytes, NULL for none; v_logs shows it in hex';
COMMENT ON COLUMN service_logs.parent_span_id IS 'Parent of that span, when the sender gives it in the attribute parent_span_id';
COMMENT ON COLUMN service_logs.service_name IS 'service.name of the resource, at most 255 characters; the whole of it is in otel_resources';
COMMENT ON COLUMN service_logs.log_level IS 'DEBUG, INFO, WARN or ERROR (TRACE counts as DEBUG, FATAL as ERROR)';
COMMENT ON COLUMN service_logs.severity_number IS 'Exact severity of OTLP, 1 (TRACE) to 24 (FATAL4), 0 when not given';
COMMENT ON COLUMN service_logs.severity_text IS 'Severity as the source names it';
COMMENT ON COLUMN service_logs.message IS 'The body as text: a string body as it is, another as compact JSON; NULL when there is no body';
COMMENT ON COLUMN service_logs.body IS 'The body when it is not a string';
COMMENT ON COLUMN service_logs.body_raw IS 'OTLP AnyValue, only where jsonb cannot reproduce the body exactly';
COMMENT ON COLUMN service_logs.metadata IS 'Log record attributes under their semantic-convention keys';
COMMENT ON COLUMN service_logs.attributes_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the attributes exactly';
COMMENT ON COLUMN service_logs."timestamp" IS 'Time of the event, else observed time, else receive time, to the microsecond';
COMMENT ON COLUMN service_logs.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN service_logs.observed_timestamp IS 'When the collection system saw the event, NULL when not given';
COMMENT ON COLUMN service_logs.observed_ns IS 'Nanoseconds beyond observed_timestamp, 0 to 999';
COMMENT ON COLUMN service_logs.source_file IS 'Source file: code.file.path, or the older code.filepath';
COMMENT ON COLUMN service_logs.source_line IS 'Source line: code.line.number, or the older code.lineno';
COMMENT ON COLUMN service_logs.event_name IS 'Event name, NULL for a plain log record';
COMMENT ON COLUMN service_logs.flags IS 'Log record flags of OTLP: the low 8 bits are the W3C trace flags';
COMMENT ON COLUMN service_logs.dropped_attributes_count IS 'Attributes the sender dropped, NULL for none';
COMMENT ON COLUMN service_logs.resource_id IS 'The resource in otel_resources';
COMMENT ON COLUMN service_logs.scope_id IS 'The scope in otel_scopes';
COMMENT ON COLUMN service_logs.received_at IS 'When Ares received the record';
COMMENT ON COLUMN service_logs.original_time_unix_nano IS 'time_unix_nano as sent, only where timestamp does not give it';
