-- The telemetry tables for people: ids in hex, resource and scope joined in.
CREATE VIEW v_spans AS
SELECT replace(s.trace_id::text, '-', '') AS trace_id, encode(s.span_id, 'hex') AS span_id,
       encode(s.parent_span_id, 'hex') AS parent_span_id, s.service_name, s.operation_name, s.kind, s.start_time,
       s.start_time + s.duration_ms * interval '1 millisecond' AS end_time, s.duration_ms, s.status, s.status_message,
       s.attributes, s.events, s.links, r.attributes AS resource_attributes, c.name AS scope_name, c.version AS scope_version,
       c.attributes AS scope_attributes, s.trace_state, s.flags, s.received_at, s.tenant_id
FROM service_spans s
LEFT JOIN otel_resources r ON r.tenant_id = s.tenant_id AND r.resource_id = s.resource_id
LEFT JOIN otel_scopes c ON c.tenant_id = s.tenant_id AND c.scope_id = s.scope_id;

COMMENT ON VIEW   v_spans IS 'service_spans with ids in hex and the resource and scope joined in';
COMMENT ON COLUMN v_spans.trace_id IS 'Trace id, 32 hex digits';
COMMENT ON COLUMN v_spans.span_id IS 'Span id, 16 hex digits';
COMMENT ON COLUMN v_spans.parent_span_id IS 'Parent span id, NULL for a root span';
COMMENT ON COLUMN v_spans.service_name IS 'service.name of the resource';
COMMENT ON COLUMN v_spans.operation_name IS 'Span name';
COMMENT ON COLUMN v_spans.kind IS 'unspecified, internal, server, client, producer or consumer';
COMMENT ON COLUMN v_spans.start_time IS 'Start';
COMMENT ON COLUMN v_spans.end_time IS 'End';
COMMENT ON COLUMN v_spans.duration_ms IS 'Duration in milliseconds';
COMMENT ON COLUMN v_spans.status IS 'unset, ok or error';
COMMENT ON COLUMN v_spans.status_message IS 'Status message';
COMMENT ON COLUMN v_spans.attributes IS 'Span attributes';
COMMENT ON COLUMN v_spans.events IS 'Span events';
COMMENT ON COLUMN v_spans.links IS 'Span links';
COMMENT ON COLUMN v_spans.resource_attributes IS 'Resource attributes';
COMMENT ON COLUMN v_spans.scope_name IS 'Instrumentation scope name';
COMMENT ON COLUMN v_spans.scope_version IS 'Instrumentation scope version';
COMMENT ON COLUMN v_spans.scope_attributes IS 'Instrumentation scope attributes';
COMMENT ON COLUMN v_spans.trace_state IS 'W3C tracestate';
COMMENT ON COLUMN v_spans.flags IS 'Span flags of OTLP';
COMMENT ON COLUMN v_spans.received_at IS 'When Ares received the span';
COMMENT ON COLUMN v_spans.tenant_id IS 'Tenant, 0 is the default tenant';

CREATE VIEW v_logs AS
SELECT l.id, replace(l.trace_id::text, '-', '') AS trace_id, encode(l.span_id, 'hex') AS span_id,
       encode(l.parent_span_id, 'hex') AS parent_span_id, l.service_name, l.log_level, l.severity_number, l.severity_text,
       l.message, l.body, l.metadata, l."timestamp", l.observed_timestamp, l.source_file, l.source_line, l.event_name,
       r.attributes AS resource_attributes, c.name AS scope_name, c.version AS scope_version, c.attributes AS scope_attributes,
       l.received_at, l.tenant_id
FROM service_logs l
LEFT JOIN otel_resources r ON r.tenant_id = l.tenant_id AND r.resource_id = l.resource_id
LEFT JOIN otel_scopes c ON c.tenant_id = l.tenant_id AND c.scope_id = l.scope_id;

COMMENT ON VIEW   v_logs IS 'service_logs with ids in hex and the resource and scope joined in';
COMMENT ON COLUMN v_logs.id IS 'Row number';
COMMENT ON COLUMN v_logs.trace_id IS 'Trace id, 32 hex digits, NULL for none';
COMMENT ON COLUMN v_logs.span_id IS 'Span id, 16 hex digits, NULL for none';
COMMENT ON COLUMN v_logs.parent_span_id IS 'Parent of that span, when the sender gives it';
COMMENT ON COLUMN v_logs.service_name IS 'service.name of the resource';
COMMENT ON COLUMN v_logs.log_level IS 'DEBUG, INFO, WARN or ERROR';
COMMENT ON COLUMN v_logs.severity_number IS 'Exact severity of OTLP';
COMMENT ON COLUMN v_logs.severity_text IS 'Severity as the source names it';
COMMENT ON COLUMN v_logs.message IS 'The body as text';
COMMENT ON COLUMN v_logs.body IS 'The body when it is not a string';
COMMENT ON COLUMN v_logs.metadata IS 'Log record attributes';
COMMENT ON COLUMN v_logs."timestamp" IS 'Time of the event, else observed time, else receive time';
COMMENT ON COLUMN v_logs.observed_timestamp IS 'When the collection system saw the event';
COMMENT ON COLUMN v_logs.source_file IS 'Source file';
COMMENT ON COLUMN v_logs.source_line IS 'Source line';
COMMENT ON COLUMN v_logs.event_name IS 'Event name';
COMMENT ON COLUMN v_logs.resource_attributes IS 'Resource attributes';
COMMENT ON COLUMN v_logs.scope_name IS 'Instrumentation scope name';
COMMENT ON COLUMN v_logs.scope_version IS 'Instrumentation scope version';
COMMENT ON COLUMN v_logs.scope_attributes IS 'Instrumentation scope attributes';
COMMENT ON COLUMN v_logs.received_at IS 'When Ares received the record';
COMMENT ON COLUMN v_logs.tenant_id IS 'Tenant, 0 is the default tenant';
