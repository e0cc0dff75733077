-- What each request was answered. An ordinary table: a unique key cannot live on a time-partitioned one.
CREATE TABLE ingest_receipts (
    key         bytea PRIMARY KEY,
    tenant_id   integer NOT NULL DEFAULT 0,
    signal      text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    accepted    bigint NOT NULL,
    rejected    bigint NOT NULL DEFAULT 0,
    reason      text
);
CREATE INDEX ingest_receipts_received_at_idx ON ingest_receipts (received_at);

COMMENT ON TABLE  ingest_receipts IS 'Answers given to stored requests, so that a retry can be told apart; written in the transaction that stores the rows';
COMMENT ON COLUMN ingest_receipts.key IS 'Hash of tenant, signal and the request body (16 bytes)';
COMMENT ON COLUMN ingest_receipts.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN ingest_receipts.signal IS 'traces, logs or metrics';
COMMENT ON COLUMN ingest_receipts.received_at IS 'When the request was received';
COMMENT ON COLUMN ingest_receipts.accepted IS 'Items that were stored';
COMMENT ON COLUMN ingest_receipts.rejected IS 'Items that were rejected (partial success)';
COMMENT ON COLUMN ingest_receipts.reason IS 'Why, as the sender was told';
