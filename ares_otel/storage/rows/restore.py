"""Stored rows back to OTLP requests, grouped by resource and scope.

What a sender sent comes back, to the nanosecond and the bit; docs/lossless.md says exactly what that means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows.restore_items import (
    log_from_row,
    resource_from_row,
    resource_of_service,
    scope_from_row,
    span_from_row,
)
from ares_otel.storage.rows.restore_metrics import data_field, metric_from_series, point_from_row
from ares_otel.storage.rows.restore_values import Row

_SPANS = """
SELECT * FROM service_spans
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR trace_id = $2)
  AND ($3::timestamptz IS NULL OR start_time >= $3) AND ($4::timestamptz IS NULL OR start_time < $4)
ORDER BY start_time, start_ns, span_id
"""
_LOGS = """
SELECT * FROM service_logs
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR trace_id = $2)
  AND ($3::timestamptz IS NULL OR "timestamp" >= $3) AND ($4::timestamptz IS NULL OR "timestamp" < $4)
ORDER BY "timestamp", timestamp_ns, id
"""
_SAMPLES = """
SELECT series_id, id, "timestamp", timestamp_ns, value, value_int, start_time, start_ns, flags, exemplars, point_raw,
       original_time_unix_nano
FROM metric_samples
WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR "timestamp" >= $2)
  AND ($3::timestamptz IS NULL OR "timestamp" < $3)
UNION ALL
SELECT k.series_id, u.id, u."timestamp", u.timestamp_ns, u.value, u.value_int, u.start_time, u.start_ns, NULL,
       u.exemplars, NULL, NULL
FROM metric_packs k CROSS JOIN LATERAL unpacked(k) u
WHERE k.tenant_id = $1 AND ($2::timestamptz IS NULL
       OR (k."timestamp" >= $2 - interval '1 day' AND k.last_timestamp >= $2 AND u."timestamp" >= $2))
  AND ($3::timestamptz IS NULL OR (k."timestamp" < $3 AND u."timestamp" < $3))
ORDER BY "timestamp", timestamp_ns, id
"""
_DISTRIBUTIONS = """
SELECT * FROM metric_distributions
WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR "timestamp" >= $2)
  AND ($3::timestamptz IS NULL OR "timestamp" < $3)
ORDER BY "timestamp", timestamp_ns, id
"""
_SERIES = "SELECT * FROM metric_series WHERE tenant_id = $1 AND series_id = ANY ($2::uuid[])"
_RESOURCES = "SELECT * FROM otel_resources WHERE tenant_id = $1 AND resource_id = ANY ($2::uuid[])"
_SCOPES = "SELECT * FROM otel_scopes WHERE tenant_id = $1 AND scope_id = ANY ($2::uuid[])"


@dataclass(slots=True)
class Definitions:
    """The resources and scopes that rows refer to, by id."""

    resources: dict[UUID, Row]
    scopes: dict[UUID, Row]


async def restore_request(
    connection: asyncpg.Connection,
    signal: Signal,
    *,
    tenant_id: int = 0,
    trace_id: bytes | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Message:
    """The stored items of a signal as one export request.

    Args:
        connection: any connection to the database; reads only. Everything that matches is held in memory.
        trace_id: 16 bytes, only the items of this trace. Points have no trace: for metrics it must be None.
        start, end: only items that are filed in this time, `start <= t < end`; either may be None.

    Raises:
        ValueError: a trace id together with metrics.
        asyncpg.PostgresError: the database could not answer.
    """
    if signal is METRICS:
        if trace_id is not None:
            raise ValueError("Metric points belong to no trace; leave trace_id out.")
        return await restore_metrics(connection, tenant_id=tenant_id, start=start, end=end)
    restore = {TRACES: restore_traces, LOGS: restore_logs}[signal]
    return await restore(connection, tenant_id=tenant_id, trace_id=trace_id, start=start, end=end)


async def restore_traces(
    connection: asyncpg.Connection,
    *,
    tenant_id: int = 0,
    trace_id: bytes | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ExportTraceServiceRequest:
    """Spans by start time; see `restore_request`."""
    rows = await connection.fetch(_SPANS, tenant_id, _uuid(trace_id), start, end)
    groups = Groups(await _definitions(connection, tenant_id, rows), "scope_spans")
    request = ExportTraceServiceRequest()
    for row in rows:
        groups.scope(request.resource_spans, row).spans.append(span_from_row(row))
    return request


async def restore_logs(
    connection: asyncpg.Connection,
    *,
    tenant_id: int = 0,
    trace_id: bytes | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ExportLogsServiceRequest:
    """Log records by time; see `restore_request`."""
    rows = await connection.fetch(_LOGS, tenant_id, _uuid(trace_id), start, end)
    groups = Groups(await _definitions(connection, tenant_id, rows), "scope_logs")
    request = ExportLogsServiceRequest()
    for row in rows:
        groups.scope(request.resource_logs, row).log_records.append(log_from_row(row))
    return request


async def restore_metrics(
    connection: asyncpg.Connection,
    *,
    tenant_id: int = 0,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ExportMetricsServiceRequest:
    """Points by time, in the metrics they belong to; see `restore_request`."""
    rows = [row for sql in (_SAMPLES, _DISTRIBUTIONS) for row in await connection.fetch(sql, tenant_id, start, end)]
    found = await connection.fetch(_SERIES, tenant_id, list({row["series_id"] for row in rows}))
    all_series = {series["series_id"]: series for series in found}
    groups = Groups(await _definitions(connection, tenant_id, found), "scope_metrics")
    request = ExportMetricsServiceRequest()
    metrics: dict[tuple[Any, ...], Metric] = {}
    for row in rows:
        series = all_series.get(row["series_id"])
        if series is None:
            continue  # expired between the two reads
        key = tuple(series[name] for name in _METRIC_IDENTITY)
        if key not in metrics:
            scope_metrics = groups.scope(request.resource_metrics, series)
            metrics[key] = scope_metrics.metrics.add()
            metrics[key].CopyFrom(metric_from_series(series))
        getattr(metrics[key], data_field(series)).data_points.append(point_from_row(row, series))
    return request


_METRIC_IDENTITY = (
    *("resource_id", "scope_id", "service_name", "metric_name", "metric_type", "unit", "description"),
    *("temporality", "is_monotonic", "metadata", "metadata_raw"),
)


def _uuid(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)


async def _definitions(connection: asyncpg.Connection, tenant_id: int, rows: Iterable[Row]) -> Definitions:
    resources = list({row["resource_id"] for row in rows} - {None})
    scopes = list({row["scope_id"] for row in rows} - {None})
    return Definitions(
        {row["resource_id"]: row for row in await connection.fetch(_RESOURCES, tenant_id, resources)},
        {row["scope_id"]: row for row in await connection.fetch(_SCOPES, tenant_id, scopes)},
    )


class Groups:
    """Finds or makes the resource and scope that a row belongs to, in the order in which rows first name them."""

    def __init__(self, definitions: Definitions, scopes_field: str) -> None:
        self._definitions = definitions
        self._scopes_field = scopes_field
        self._resources: dict[object, Any] = {}
        self._scopes: dict[object, Any] = {}

    def know(self, definitions: Definitions) -> None:
        """From now on these are the definitions; what was made stays."""
        self._definitions = definitions

    def scope(self, containers: Any, row: Row) -> Any:
        """The ScopeSpans, ScopeLogs or ScopeMetrics of a row; `containers` is the request's repeated field."""
        resource = self._definitions.resources.get(row["resource_id"])
        resource_key = row["resource_id"] if resource is not None else ("service", row["service_name"])
        if resource_key not in self._resources:
            self._resources[resource_key] = self._add_resource(containers, resource, row["service_name"])
        key = (resource_key, row["scope_id"])
        if key not in self._scopes:
            self._scopes[key] = self._add_scope(self._resources[resource_key], row["scope_id"])
        return self._scopes[key]

    def _add_resource(self, containers: Any, definition: Row | None, service_name: str) -> Any:
        container = containers.add()
        if definition is None:
            container.resource.CopyFrom(resource_of_service(service_name))
            return container
        container.schema_url = definition["schema_url"]
        resource = resource_from_row(definition)
        if resource is not None:
            container.resource.CopyFrom(resource)
        return container

    def _add_scope(self, container: Any, scope_id: UUID | None) -> Any:
        scopes = getattr(container, self._scopes_field).add()
        definition = self._definitions.scopes.get(scope_id) if scope_id is not None else None
        if definition is not None:
            scopes.schema_url = definition["schema_url"]
            scope = scope_from_row(definition)
            if scope is not None:
                scopes.scope.CopyFrom(scope)
        return scopes
