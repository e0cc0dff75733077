"""The tables of pinned traces."""

from __future__ import annotations

from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.encoded import LOGS, SPANS

COPIES = {SPANS: "pinned_spans", LOGS: "pinned_logs"}
"""Telemetry table → the table with copies of rows of pinned traces."""
COLUMNS = {SPANS: COPY_COLUMNS[SPANS], LOGS: ("id", *COPY_COLUMNS[LOGS])}
"""All columns of a telemetry table, which are those of its copies; a test compares them with the database."""

LOCK = 0x41726573_50696E73  # "AresPins"
"""Advisory lock of a transaction that changes these tables: one at a time, so that nothing is copied twice."""
MAX_ROWS = 500_000
"""Spans and log records of one pinned trace: somebody's constant trace id may own the whole table."""

FIGURES = """
UPDATE pinned_traces p
SET spans = s.rows, logs = l.rows, bytes = s.bytes + l.bytes,
    first_time = least(s.first, l.first), last_time = greatest(s.last, l.last)
FROM (
    SELECT count(*) AS rows, COALESCE(sum(pg_column_size(c.*)), 0)::bigint AS bytes,
           min(start_time) AS first, max(start_time) AS last
    FROM pinned_spans c WHERE tenant_id = $1 AND trace_id = $2
) s
CROSS JOIN (
    SELECT count(*) AS rows, COALESCE(sum(pg_column_size(c.*)), 0)::bigint AS bytes,
           min("timestamp") AS first, max("timestamp") AS last
    FROM pinned_logs c WHERE tenant_id = $1 AND trace_id = $2
) l
WHERE p.tenant_id = $1 AND p.trace_id = $2
"""
"""Counts the copies of a trace, which has some, anew."""
