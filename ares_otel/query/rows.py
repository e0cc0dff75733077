"""Rows as the read functions give them: the tables' columns by name, without the raw OTLP bytes.

Times are aware datetimes in UTC to the microsecond, with the nanoseconds beyond them in the `_ns` column; ids are UUID
(trace, resource, scope, series) and bytes (spans); JSON columns are JSON text as PostgreSQL prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, NewType, TypeVar
from uuid import UUID

Json = NewType("Json", str)
"""JSON text."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of `service_logs`."""

    tenant_id: int
    id: int
    trace_id: UUID | None
    span_id: bytes | None
    parent_span_id: bytes | None
    service_name: str
    log_level: str
    severity_number: int
    severity_text: str | None
    message: str | None
    body: Json | None
    metadata: Json
    timestamp: datetime
    timestamp_ns: int
    observed_timestamp: datetime | None
    observed_ns: int | None
    source_file: str | None
    source_line: int | None
    event_name: str | None
    flags: int
    dropped_attributes_count: int | None
    resource_id: UUID | None
    scope_id: UUID | None
    received_at: datetime
    original_time_unix_nano: Decimal | None


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A row of `service_spans`."""

    tenant_id: int
    trace_id: UUID
    span_id: bytes
    parent_span_id: bytes | None
    service_name: str
    operation_name: str
    kind: str
    start_time: datetime
    start_ns: int
    duration_ms: float
    duration_ns: int
    status: str
    status_message: str | None
    status_code: int | None
    attributes: Json
    events: Json
    links: Json
    trace_state: str | None
    flags: int
    dropped_attributes_count: int | None
    dropped_events_count: int | None
    dropped_links_count: int | None
    resource_id: UUID | None
    scope_id: UUID | None
    received_at: datetime
    original_time_unix_nano: Decimal | None
    original_end_unix_nano: Decimal | None


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A row of the view `service_metrics`."""

    id: int
    service_name: str
    metric_name: str
    metric_type: str
    metric_value: float | None
    labels: Json
    timestamp: datetime
    unit: str
    temporality: str | None
    count: int | None
    sum: float | None
    min: float | None
    max: float | None
    tenant_id: int
    series_id: UUID


@dataclass(frozen=True, slots=True)
class HealthRow:
    """A row of the view `v_system_health`."""

    service_name: str
    status: str
    version: str
    last_heartbeat: datetime
    seconds_since_heartbeat: float
    active_traces: int
    error_count_1h: int


@dataclass(frozen=True, slots=True)
class OperationRow:
    """A row of the view `v_service_performance`."""

    service_name: str
    operation_name: str
    call_count: int
    avg_duration_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    error_count: int


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """A service that sent spans."""

    service_name: str
    operations: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class OperationSeen:
    """An operation of a service."""

    operation_name: str
    kind: str
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """Calls from a service to another one, or to what sends no spans."""

    parent_service: str
    child_service: str
    child_type: str
    connection_type: str
    calls: int
    errors: int
    avg_duration_ms: float
    destinations: list[str]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A service, or what services call, with what was asked of it."""

    name: str
    type: str
    calls: int
    errors: int
    avg_duration_ms: float | None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of `ingest_rejected`, without its payload."""

    id: int
    tenant_id: int
    received_at: datetime
    rejected_at: datetime
    signal: str
    service_name: str
    items: int
    reason: str
    sqlstate: str | None
    told: bool
    key: bytes


Row = TypeVar(
    "Row",
    LogRow,
    SpanRow,
    MetricRow,
    HealthRow,
    OperationRow,
    RejectedRow,
    ServiceSummary,
    OperationSeen,
    EdgeRow,
    NodeRow,
)


def rows_of(kind: type[Row], records: Iterable[Any]) -> list[Row]:
    """The records as rows; columns that the row does not have are left out. Raises KeyError when one is missing."""
    pick = itemgetter(*(field.name for field in fields(kind)))
    return [kind(*pick(record)) for record in records]


def was_cut(records: Sequence[Any], limit: int) -> bool:
    """Whether a bounded statement found more rows than `limit`, or left rows out for their size.

    `records` have the column `found`: how many rows it found, at most `limit` + 1.
    """
    return bool(records) and (records[0]["found"] > limit or len(records) < records[0]["found"])
