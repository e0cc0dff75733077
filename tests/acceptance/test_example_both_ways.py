"""Two doors, one writer: what an application sends by OTLP and what it writes straight into PostgreSQL are the same
rows, column by column."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

import asyncpg
import pytest

from tests.support.ares_process import running_ares
from tests.support.both_ways import NAME, installed
from tests.support.example import running
from tests.support.example_orders import orders, send
from tests.support.postgres import copied_database
from tests.support.rollups import run_once

_ARRIVED = {"received_at", "id"}
"""Columns that tell when and in which order rows came. Everything else is what was sent."""
_DEFINED = {table: {"first_seen", "last_seen"} for table in ("metric_series", "otel_resources", "otel_scopes")}
"""The same of definitions."""
_OURS = "WHERE service_name = 'orders'"
_SERIES = f"WHERE series_id IN (SELECT series_id FROM metric_series {_OURS})"
_SCOPES = (
    "WHERE scope_id IN ("
    + " UNION ".join(
        f"SELECT scope_id FROM {table} {_OURS}" for table in ("service_spans", "service_logs", "metric_series")
    )
    + ")"
)

TABLES = {
    "service_spans": _OURS,
    "service_logs": _OURS,
    "service_metrics": _OURS,
    "metric_series": _OURS,
    "metric_samples": _SERIES,
    "metric_distributions": _SERIES,
    "otel_resources": _OURS,
    "otel_scopes": _SCOPES,
    "span_rollups": _OURS,
    "log_rollups": _OURS,
    "service_operations": _OURS,
    "operations_last_hour": _OURS,
    "logs_last_hour": _OURS,
    "v_spans": _OURS,
    "v_logs": _OURS,
    "v_service_performance": _OURS,
}
Rows = Mapping[str, Counter[tuple[tuple[str, str], ...]]]
"""By table: each row as names of columns and values, and how often it is there."""


@pytest.fixture(scope="module")
def stored(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rows, Rows]]:
    """What one process sent, by OTLP and straight: its providers have both exporters."""
    folder = tmp_path_factory.mktemp("both_ways")
    with copied_database(postgres_server) as by_otlp, copied_database(postgres_server) as straight:
        with running_ares(folder / "data", "--database-url", by_otlp) as ares:
            env = {
                "PYTHONPATH": installed(folder),
                "DATABASE_URL": by_otlp,
                "ARES_OTEL_DATABASE_URL": straight,
                "ARES_OTEL_API_URL": ares.http,
                "OTEL_EXPORTER_OTLP_ENDPOINT": ares.otlp_grpc,
                "OTEL_TRACES_EXPORTER": "otlp,ares_postgres",
                "OTEL_LOGS_EXPORTER": "otlp,ares_postgres",
                "OTEL_METRICS_EXPORTER": NAME,
                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,team=grüße",
            }
            with running(orders(env)) as service:
                send(service.url)
                service.stop()
        yield asyncio.run(_rows(by_otlp)), asyncio.run(_rows(straight))


async def _rows(url: str) -> Rows:
    assert await run_once(partial(asyncpg.connect, url))
    connection = await asyncpg.connect(url)
    try:
        found = {table: await connection.fetch(f"SELECT * FROM {table} {where}") for table, where in TABLES.items()}
    finally:
        await connection.close()
    return {
        table: Counter(_row(row, _ARRIVED | _DEFINED.get(table, set())) for row in rows)
        for table, rows in found.items()
    }


def _row(row: asyncpg.Record, without: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, repr(value)) for name, value in row.items() if name not in without)


@pytest.mark.parametrize("table", TABLES)
def test_both_ways_lead_to_the_same_rows(table: str, stored: tuple[Rows, Rows]) -> None:
    by_otlp, straight = stored
    assert by_otlp[table]
    assert by_otlp[table] - straight[table] == Counter()
    assert straight[table] - by_otlp[table] == Counter()


def test_only_columns_of_arrival_are_left_out(stored: tuple[Rows, Rows]) -> None:
    by_otlp, _ = stored
    columns = {table: {name for row in rows for name, _ in row} for table, rows in by_otlp.items()}
    assert {"trace_id", "start_ns", "events_raw", "attributes_raw", "scope_id"} <= columns["service_spans"]
    assert {"observed_ns", "body_raw", "source_line", "metadata"} <= columns["service_logs"]
    assert {"exemplars", "bucket_counts", "start_time", "point_raw"} <= columns["metric_distributions"]
    assert "last_seen" in columns["service_operations"]
