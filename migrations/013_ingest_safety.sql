-- What makes an answer a promise: who stored a request, what the database refused, and which spools may still hold some.
ALTER TABLE ingest_receipts
    ADD COLUMN rejected_later bigint NOT NULL DEFAULT 0,
    ADD COLUMN stored_by      uuid;

COMMENT ON COLUMN ingest_receipts.rejected_later IS 'Of the accepted items, those that the database refused after the answer (they came from a spool); they are in ingest_rejected';
COMMENT ON COLUMN ingest_receipts.stored_by IS 'The process that stored the request; it knows its own work again when a connection broke during COMMIT';

CREATE SEQUENCE ingest_rejected_id_seq;
CREATE TABLE ingest_rejected (
    id           bigint PRIMARY KEY DEFAULT nextval('ingest_rejected_id_seq'),
    tenant_id    integer NOT NULL DEFAULT 0,
    received_at  timestamptz NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    signal       text NOT NULL,
    service_name text NOT NULL,
    items        bigint NOT NULL DEFAULT 1,
    reason       text NOT NULL,
    sqlstate     text,
    told         boolean NOT NULL,
    key          bytea NOT NULL,
    payload      bytea NOT NULL
);
CREATE INDEX ingest_rejected_rejected_at_idx ON ingest_rejected (rejected_at);

COMMENT ON TABLE  ingest_rejected IS 'What the database refused to store, with the reason: shown, tried again and dropped by `ares-otel rejected`';
COMMENT ON COLUMN ingest_rejected.id IS 'Row number';
COMMENT ON COLUMN ingest_rejected.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN ingest_rejected.received_at IS 'When the request with the items was received';
COMMENT ON COLUMN ingest_rejected.rejected_at IS 'When the database refused them';
COMMENT ON COLUMN ingest_rejected.signal IS 'traces, logs or metrics';
COMMENT ON COLUMN ingest_rejected.service_name IS 'service.name of the sender, at most 255 characters';
COMMENT ON COLUMN ingest_rejected.items IS 'Spans, log records or data points in the payload';
COMMENT ON COLUMN ingest_rejected.reason IS 'What the database said, at most 1,000 characters';
COMMENT ON COLUMN ingest_rejected.sqlstate IS 'Error code of the database; NULL when the refusal was not the database''s';
COMMENT ON COLUMN ingest_rejected.told IS 'Whether the sender was told (partial success); false when it was answered from a spool before';
COMMENT ON COLUMN ingest_rejected.key IS 'Key of the request that the items came with, as in ingest_receipts';
COMMENT ON COLUMN ingest_rejected.payload IS 'The items as an OTLP export request in protobuf';

CREATE TABLE ingest_spools (
    spool_id  uuid PRIMARY KEY,
    place     text NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT now(),
    oldest_at timestamptz
);

COMMENT ON TABLE  ingest_spools IS 'Spool directories that may hold requests which are not in the database yet: receipts are kept at least as long';
COMMENT ON COLUMN ingest_spools.spool_id IS 'Identity of the directory';
COMMENT ON COLUMN ingest_spools.place IS 'Host and path of the directory';
COMMENT ON COLUMN ingest_spools.seen_at IS 'When its process last reported';
COMMENT ON COLUMN ingest_spools.oldest_at IS 'When the oldest request in it was received; NULL for an empty spool';
