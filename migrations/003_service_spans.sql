-- One row a span. Partitioned by start time; partitions are attached by the partition job, ahead of time.
CREATE TABLE service_spans (
    tenant_id                integer NOT NULL DEFAULT 0,
    trace_id                 uuid NOT NULL,
    span_id                  bytea NOT NULL,
    parent_span_id           bytea,
    service_name             text NOT NULL,
    operation_name           text NOT NULL,
    kind                     text NOT NULL,
    start_time               timestamptz NOT NULL,
    start_ns                 smallint NOT NULL DEFAULT 0,
    duration_ms              double precision NOT NULL,
    duration_ns              bigint NOT NULL,
    status                   text NOT NULL DEFAULT 'unset',
    status_message           text,
    status_code              integer,
    attributes               jsonb NOT NULL DEFAULT '{}',
    attributes_raw           bytea,
    events                   jsonb NOT NULL DEFAULT '[]',
    events_raw               bytea,
    links                    jsonb NOT NULL DEFAULT '[]',
    links_raw                bytea,
    trace_state              text,
    flags                    bigint NOT NULL DEFAULT 0,
    dropped_attributes_count bigint,
    dropped_events_count     bigint,
    dropped_links_count      bigint,
    resource_id              uuid,
    scope_id                 uuid,
    received_at              timestamptz NOT NULL DEFAULT now(),
    original_time_unix_nano  numeric(20, 0),
    original_end_unix_nano   numeric(20, 0)
) PARTITION BY RANGE (start_time);
CREATE INDEX service_spans_trace_id_idx ON service_spans (trace_id);
CREATE INDEX service_spans_service_time_idx ON service_spans (service_name, start_time);
CREATE INDEX service_spans_time_idx ON service_spans USING brin (start_time) WITH (pages_per_range = 32);

COMMENT ON TABLE  service_spans IS 'Spans: one timed operation of a service each, joined into traces by trace_id';
COMMENT ON COLUMN service_spans.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_spans.trace_id IS 'Trace id, 128 bits; its hex form with or without dashes works in comparisons';
COMMENT ON COLUMN service_spans.span_id IS 'Span id, 8 bytes; v_spans shows it in hex';
COMMENT ON COLUMN service_spans.parent_span_id IS 'Span id of the parent, NULL for a root span';
COMMENT ON COLUMN service_spans.service_name IS 'service.name of the resource, at most 255 characters; the whole of it is in otel_resources';
COMMENT ON COLUMN service_spans.operation_name IS 'Span name';
COMMENT ON COLUMN service_spans.kind IS 'unspecified, internal, server, client, producer or consumer; a number for a kind that is not known yet';
COMMENT ON COLUMN service_spans.start_time IS 'Start, to the microsecond; the receive time where original_time_unix_nano is set';
COMMENT ON COLUMN service_spans.start_ns IS 'Nanoseconds of the start beyond start_time, 0 to 999';
COMMENT ON COLUMN service_spans.duration_ms IS 'Duration in milliseconds, never negative';
COMMENT ON COLUMN service_spans.duration_ns IS 'Duration in nanoseconds, never negative';
COMMENT ON COLUMN service_spans.status IS 'unset, ok or error';
COMMENT ON COLUMN service_spans.status_message IS 'Status message; NULL when the sender sent no status at all';
COMMENT ON COLUMN service_spans.status_code IS 'Numeric status code, only when it is none of the three known ones';
COMMENT ON COLUMN service_spans.attributes IS 'Span attributes under their semantic-convention keys';
COMMENT ON COLUMN service_spans.attributes_raw IS 'OTLP KeyValueList, only where jsonb cannot reproduce the attributes exactly';
COMMENT ON COLUMN service_spans.events IS 'Array of {name, time_unix_nano, attributes, dropped_attributes_count}';
COMMENT ON COLUMN service_spans.events_raw IS 'OTLP Span message with only its events, where jsonb cannot reproduce them exactly';
COMMENT ON COLUMN service_spans.links IS 'Array of {trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags}';
COMMENT ON COLUMN service_spans.links_raw IS 'OTLP Span message with only its links, where jsonb cannot reproduce them exactly';
COMMENT ON COLUMN service_spans.trace_state IS 'W3C tracestate, NULL when empty';
COMMENT ON COLUMN service_spans.flags IS 'Span flags of OTLP: the low 8 bits are the W3C trace flags';
COMMENT ON COLUMN service_spans.dropped_attributes_count IS 'Attributes the sender dropped, NULL for none';
COMMENT ON COLUMN service_spans.dropped_events_count IS 'Events the sender dropped, NULL for none';
COMMENT ON COLUMN service_spans.dropped_links_count IS 'Links the sender dropped, NULL for none';
COMMENT ON COLUMN service_spans.resource_id IS 'The resource in otel_resources';
COMMENT ON COLUMN service_spans.scope_id IS 'The scope in otel_scopes';
COMMENT ON COLUMN service_spans.received_at IS 'When Ares received the span';
COMMENT ON COLUMN service_spans.original_time_unix_nano IS 'The start as sent, only where the span is filed under its receive time instead';
COMMENT ON COLUMN service_spans.original_end_unix_nano IS 'The end as sent, only where start plus duration_ns does not give it (an end before the start)';
