-- Events of the event bus that are kept as evidence.
CREATE TABLE event_audit (
    event_id     text PRIMARY KEY,
    topic        text NOT NULL,
    data         jsonb NOT NULL,
    source       text NOT NULL DEFAULT '',
    published_at timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_audit_topic_published_at_idx ON event_audit (topic, published_at);

COMMENT ON TABLE  event_audit IS 'Events with a topic below trade, each exactly once';
COMMENT ON COLUMN event_audit.event_id IS 'The event''s id, the same however often it was delivered';
COMMENT ON COLUMN event_audit.topic IS 'Topic, for example trade.executed';
COMMENT ON COLUMN event_audit.data IS 'What was published: any JSON';
COMMENT ON COLUMN event_audit.source IS 'Which process published it';
COMMENT ON COLUMN event_audit.published_at IS 'When it was published, by the publisher''s clock';
COMMENT ON COLUMN event_audit.received_at IS 'When the row was written';
