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
