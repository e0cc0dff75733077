"""Two doors, one writer: what an application sends by OTLP and what it writes straight into PostgreSQL are the same
rows, column by column."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.examples.conftest import Both
from tests.acceptance.examples.rows import TABLES


@pytest.mark.parametrize("table", TABLES)
def test_both_doors_lead_to_the_same_rows(table: str, both: Both) -> None:
    by_otlp, straight = both.by_otlp[table], both.straight[table]
    assert by_otlp
    assert by_otlp - straight == Counter()
    assert straight - by_otlp == Counter()


def test_only_columns_of_arrival_are_left_out(both: Both) -> None:
    columns = {table: {name for row in rows for name, _ in row} for table, rows in both.by_otlp.items()}
    assert {"trace_id", "start_ns", "events_raw", "attributes_raw", "scope_id"} <= columns["service_spans"]
    assert {"observed_ns", "body_raw", "source_line", "metadata"} <= columns["service_logs"]
    assert {"exemplars", "bucket_counts", "start_time", "point_raw"} <= columns["metric_distributions"]
    assert "last_seen" in columns["service_operations"]
