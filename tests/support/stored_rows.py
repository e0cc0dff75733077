"""Telemetry rows put into the tables by SQL, for tests of what reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

TRACE = UUID("4bf92f3577b34da6a3ce929d0e0e4736")


def now() -> datetime:
    """Now, to the microsecond, in UTC."""
    return datetime.now(UTC)


def span_id(number: int) -> bytes:
    """A span id that shows the number."""
    return number.to_bytes(8, "big")


async def insert(connection: asyncpg.Connection, table: str, **values: Any) -> None:
    """One row; dicts and lists become JSON."""
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({places})",
        *(json.dumps(value) if isinstance(value, dict | list) else value for value in values.values()),
    )


async def insert_log(connection: asyncpg.Connection, **values: Any) -> None:
    """A log record, with defaults for what is not given."""
    row: dict[str, Any] = {
        "service_name": "orders",
        "log_level": "INFO",
        "severity_number": 9,
        "message": "hello",
        "timestamp": now(),
    }
    await insert(connection, "service_logs", **(row | values))


async def insert_span(connection: asyncpg.Connection, number: int, parent: int | None = None, **values: Any) -> None:
    """A span, with defaults for what is not given. `duration_ns` also sets `duration_ms`."""
    row: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": span_id(number),
        "parent_span_id": None if parent is None else span_id(parent),
        "service_name": "orders",
        "operation_name": f"operation {number}",
        "kind": "internal",
        "start_time": now(),
        "duration_ns": 1_000_000,
    } | values
    row.setdefault("duration_ms", row["duration_ns"] / 1e6)
    await insert(connection, "service_spans", **row)


async def insert_metric(connection: asyncpg.Connection, **values: Any) -> None:
    """A data point through the view, with defaults for what is not given."""
    row: dict[str, Any] = {
        "service_name": "orders",
        "metric_name": "queue.length",
        "metric_type": "gauge",
        "metric_value": 1.5,
        "labels": {},
        "timestamp": now(),
    }
    await insert(connection, "service_metrics", **(row | values))


async def insert_histogram(connection: asyncpg.Connection, **values: Any) -> None:
    """A histogram point of a series of its own."""
    series = uuid4()
    await insert(
        connection,
        "metric_series",
        series_id=series,
        service_name="orders",
        metric_name="http.server.request.duration",
        metric_type="histogram",
        unit="s",
        temporality="delta",
    )
    row: dict[str, Any] = {"series_id": series, "timestamp": now(), "count": 4, "sum": 2.0, "value": 0.5}
    await insert(connection, "metric_distributions", **(row | values))


async def insert_service(connection: asyncpg.Connection, **values: Any) -> None:
    """A registered service."""
    row: dict[str, Any] = {"name": "orders", "version": "1.4.2"}
    await insert(connection, "service_registry", **(row | values))
