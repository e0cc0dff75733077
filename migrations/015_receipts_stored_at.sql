-- How long a receipt is kept follows the database's clock, too: that of the Ares that took the request may be wrong.
ALTER TABLE ingest_receipts ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now();

COMMENT ON COLUMN ingest_receipts.stored_at IS 'When the receipt was written, by the clock of the database; received_at follows the clock of the Ares that took the request';
