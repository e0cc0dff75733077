-- The service map, wider: messages, databases and what sends no telemetry, and each minute remembers what it waits for.

ALTER TABLE service_edges
    ADD COLUMN connection_type text NOT NULL DEFAULT 'call'
        CHECK (connection_type IN ('call', 'messaging', 'database', 'external')),
    ADD COLUMN child_type text NOT NULL DEFAULT 'service'
        CHECK (child_type IN ('service', 'messaging', 'database', 'external')),
    ADD COLUMN destination text NOT NULL DEFAULT '';
ALTER TABLE service_edges
    DROP CONSTRAINT service_edges_pkey,
    ADD PRIMARY KEY (minute, minutes, tenant_id, parent_service, child_service, child_type, connection_type, destination);

COMMENT ON TABLE  service_edges IS 'Calls from one service to another, to a database, a queue or something that sends no spans, by minute';
COMMENT ON COLUMN service_edges.minute IS 'Beginning of the time in which the called spans begin, UTC; where nobody answered, the calling spans';
COMMENT ON COLUMN service_edges.child_service IS 'The service that is called, or the name of what is called: at most 100 characters where it is no service';
COMMENT ON COLUMN service_edges.duration_ns_sum IS 'Sum of the durations of the called spans in nanoseconds; where nobody answered, of the calling spans';
COMMENT ON COLUMN service_edges.connection_type IS 'call, messaging, database or external';
COMMENT ON COLUMN service_edges.child_type IS 'What child_service is: service, messaging (a queue or topic whose consumer sent no spans), database or external';
COMMENT ON COLUMN service_edges.destination IS 'For messages to a service: the system and the destination they went through, like kafka/orders; else empty';

ALTER TABLE service_edge_minutes
    ADD COLUMN waiting integer NOT NULL DEFAULT 0,
    ADD COLUMN missing bytea[] NOT NULL DEFAULT '{}',
    ADD COLUMN unanswered bytea[] NOT NULL DEFAULT '{}',
    ADD COLUMN answered bytea[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN service_edge_minutes.waiting IS 'Number of elements of missing';
COMMENT ON COLUMN service_edge_minutes.missing IS 'Span ids that called spans of the minute name as parent or link, and that were not there: when one comes, it is looked at again';
COMMENT ON COLUMN service_edge_minutes.unanswered IS 'Span ids of the calls of the minute that were counted as calls to something that sends no spans';
COMMENT ON COLUMN service_edge_minutes.answered IS 'Span ids of calls of the minute that spans of other minutes answered by a link';

CREATE TABLE service_edge_arrivals (
    minute       timestamptz NOT NULL,
    service_name text NOT NULL,
    PRIMARY KEY (minute, service_name)
);

COMMENT ON TABLE  service_edge_arrivals IS 'Where spans came that another minute may have waited for, until that was looked up';
COMMENT ON COLUMN service_edge_arrivals.minute IS 'The minute in which the spans begin, UTC';
COMMENT ON COLUMN service_edge_arrivals.service_name IS 'service.name of the resource';

-- What was asked of each service, whoever asked: the nodes of the map.
CREATE TABLE service_nodes (
    minute          timestamptz NOT NULL,
    minutes         smallint NOT NULL DEFAULT 1 CHECK (minutes IN (1, 60)),
    tenant_id       integer NOT NULL DEFAULT 0,
    service_name    text NOT NULL,
    calls           bigint NOT NULL,
    errors          bigint NOT NULL,
    duration_ns_sum numeric NOT NULL,
    PRIMARY KEY (minute, minutes, tenant_id, service_name)
);

COMMENT ON TABLE  service_nodes IS 'Server and consumer spans of each service, by minute: the nodes of the service map';
COMMENT ON COLUMN service_nodes.minute IS 'Beginning of the time in which the spans begin, UTC';
COMMENT ON COLUMN service_nodes.minutes IS 'Length of that time: 1, or 60 after two days';
COMMENT ON COLUMN service_nodes.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN service_nodes.service_name IS 'service.name of the resource';
COMMENT ON COLUMN service_nodes.calls IS 'Spans';
COMMENT ON COLUMN service_nodes.errors IS 'Of them with status error';
COMMENT ON COLUMN service_nodes.duration_ns_sum IS 'Sum of their durations in nanoseconds';

CREATE OR REPLACE VIEW v_service_map AS
SELECT parent_service, child_service, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
       (sum(duration_ns_sum) / nullif(sum(calls), 0) / 1e6)::double precision AS avg_duration_ms, tenant_id,
       connection_type, child_type, array_remove(array_agg(DISTINCT destination), '') AS destinations
FROM service_edges
WHERE minute > now() - interval '1 hour'
GROUP BY tenant_id, parent_service, child_service, connection_type, child_type;

COMMENT ON VIEW   v_service_map IS 'Which service called what in the last hour';
COMMENT ON COLUMN v_service_map.child_service IS 'The service that is called, or the name of what is called';
COMMENT ON COLUMN v_service_map.avg_duration_ms IS 'Mean duration in milliseconds: of the called spans, or of the calling ones where nobody answered';
COMMENT ON COLUMN v_service_map.connection_type IS 'call, messaging, database or external';
COMMENT ON COLUMN v_service_map.child_type IS 'What child_service is: service, messaging, database or external';
COMMENT ON COLUMN v_service_map.destinations IS 'For messages to a service: the systems and destinations they went through, like kafka/orders';
