-- Traces that survive retention: copies of their rows, made when somebody pins them and again before a partition leaves.
CREATE TABLE pinned_traces (
    tenant_id  integer NOT NULL DEFAULT 0,
    trace_id   uuid NOT NULL,
    pinned_at  timestamptz NOT NULL DEFAULT now(),
    pinned_by  text,
    first_time timestamptz NOT NULL,
    last_time  timestamptz NOT NULL,
    spans      bigint NOT NULL DEFAULT 0,
    logs       bigint NOT NULL DEFAULT 0,
    bytes      bigint NOT NULL DEFAULT 0,
    left_out   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (trace_id, tenant_id)
);
CREATE INDEX pinned_traces_pinned_at_idx ON pinned_traces (pinned_at);

COMMENT ON TABLE  pinned_traces IS 'Traces that are kept for good: their spans and log records are copied to pinned_spans and pinned_logs';
COMMENT ON COLUMN pinned_traces.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN pinned_traces.trace_id IS 'Trace id, 128 bits; its hex form with or without dashes works in comparisons';
COMMENT ON COLUMN pinned_traces.pinned_at IS 'When it was pinned';
COMMENT ON COLUMN pinned_traces.pinned_by IS 'Who pinned it, as they said; NULL when they did not say';
COMMENT ON COLUMN pinned_traces.first_time IS 'The earliest time that a copied span or log record is filed under';
COMMENT ON COLUMN pinned_traces.last_time IS 'The latest such time';
COMMENT ON COLUMN pinned_traces.spans IS 'Copied spans';
COMMENT ON COLUMN pinned_traces.logs IS 'Copied log records';
COMMENT ON COLUMN pinned_traces.bytes IS 'Bytes of the copied rows';
COMMENT ON COLUMN pinned_traces.left_out IS 'Rows that were not copied before their partition left, because the trace is too large; 0 but for a trace id that somebody uses for everything';

CREATE TABLE pinned_spans (LIKE service_spans INCLUDING COMMENTS);
CREATE INDEX pinned_spans_trace_id_idx ON pinned_spans (trace_id);
CREATE INDEX pinned_spans_service_time_idx ON pinned_spans (service_name, start_time);
CREATE INDEX pinned_spans_resource_id_idx ON pinned_spans (resource_id);
CREATE INDEX pinned_spans_scope_id_idx ON pinned_spans (scope_id);
COMMENT ON TABLE  pinned_spans IS 'Copies of the spans of pinned traces, with the columns of service_spans; a span that is in service_spans still counts once';

CREATE TABLE pinned_logs (LIKE service_logs INCLUDING COMMENTS);
ALTER TABLE pinned_logs ALTER COLUMN trace_id SET NOT NULL;
CREATE INDEX pinned_logs_trace_id_idx ON pinned_logs (trace_id);
CREATE INDEX pinned_logs_resource_id_idx ON pinned_logs (resource_id);
CREATE INDEX pinned_logs_scope_id_idx ON pinned_logs (scope_id);
COMMENT ON TABLE  pinned_logs IS 'Copies of the log records of pinned traces, with the columns of service_logs; a record that is in service_logs still counts once';
