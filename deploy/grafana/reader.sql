-- The role that the dashboards read with: it sees telemetry and how its storage does, and can change nothing. Neither
-- settings nor the payload of rejected items are shown to it. Run it as a superuser, or as the owner of the tables where
-- that role may make roles; also again after an update of Ares:
--
--   ares-otel psql --database-url "$URL" -v role=grafana -v password="$GRAFANA_READER_PASSWORD" -f deploy/grafana/reader.sql
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
ALTER ROLE :"role" LOGIN PASSWORD :'password' CONNECTION LIMIT 20;

-- A panel that asks for too much ends, and takes nobody's place for longer.
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET statement_timeout = '30s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE :"role" SET jit = off;

GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT ON
    service_spans, service_logs, metric_samples, metric_distributions, metric_series, otel_resources, otel_scopes,
    service_metrics, v_spans, v_logs, v_service_performance, v_system_health, v_service_signs, v_operation_minutes, v_service_map,
    span_rollups, log_rollups, span_rollup_increments, log_rollup_increments, operations_last_hour, logs_last_hour, rollup_state,
    service_operations, service_edges, service_edge_minutes, service_nodes, service_registry, service_status_history,
    pinned_traces, pinned_spans, pinned_logs, ingest_receipts, ingest_spools, partition_floors, partition_jobs, partition_volumes
    TO :"role";
GRANT SELECT (id, tenant_id, received_at, rejected_at, signal, service_name, items, reason, sqlstate, told) ON ingest_rejected TO :"role";
