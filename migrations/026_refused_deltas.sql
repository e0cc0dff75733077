-- Deltas that the job could not add to their totals, set aside so that the others go on.
CREATE TABLE metric_delta_refused (
    tenant_id    integer NOT NULL DEFAULT 0,
    series_id    uuid NOT NULL,
    "timestamp"  timestamptz NOT NULL,
    timestamp_ns smallint NOT NULL DEFAULT 0,
    value        double precision,
    refused_at   timestamptz NOT NULL DEFAULT now(),
    sqlstate     text,
    reason       text NOT NULL
);
CREATE INDEX metric_delta_refused_refused_at_idx ON metric_delta_refused (refused_at);

COMMENT ON TABLE  metric_delta_refused IS 'Stored points that came as deltas and are not in the totals, because adding them failed; whoever moves them back to metric_delta_arrivals has them tried again';
COMMENT ON COLUMN metric_delta_refused.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN metric_delta_refused.series_id IS 'The series in metric_series';
COMMENT ON COLUMN metric_delta_refused."timestamp" IS 'Time of the point, as it is filed, to the microsecond';
COMMENT ON COLUMN metric_delta_refused.timestamp_ns IS 'Nanoseconds beyond timestamp, 0 to 999';
COMMENT ON COLUMN metric_delta_refused.value IS 'The value of a number; NULL for a distribution, which is read from its row';
COMMENT ON COLUMN metric_delta_refused.refused_at IS 'When it was set aside';
COMMENT ON COLUMN metric_delta_refused.sqlstate IS 'Error code of the database; NULL when the error was not the database''s';
COMMENT ON COLUMN metric_delta_refused.reason IS 'What was wrong, at most 1,000 characters';
