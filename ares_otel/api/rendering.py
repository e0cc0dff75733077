"""Rows as JSON: columns by name, ids in lower-case hex, times in RFC 3339 UTC, JSON columns as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from fastapi import Response
from google.protobuf.message import DecodeError

from ares_otel.control.registry import ServiceRow
from ares_otel.model.otlp_json import json_object
from ares_otel.model.signal import SIGNALS
from ares_otel.query.rejected import RejectedItem
from ares_otel.query.rows import HealthRow, Json, LogRow, MetricRow, OperationRow, RejectedRow, SpanRow
from ares_otel.query.traces import PlacedSpan, Trace


def json_response(content: Mapping[str, object], *, status: int = 200) -> Response:
    """The content as an answer. JSON columns are put in as they came from the database, not parsed again."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def render_time(time: datetime | None, ns: int | None = None) -> str | None:
    """RFC 3339 in UTC with six fractional digits, or nine where there are nanoseconds beyond the microsecond."""
    if time is None:
        return None
    text = time.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}{ns:03d}Z" if ns else f"{text}Z"


def render_float(value: float | None) -> float | str | None:
    """The number; `"NaN"`, `"Infinity"` and `"-Infinity"` as text, for JSON has no such numbers."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json(text: Json | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)


def _uuid(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _bytes(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def render_log(row: LogRow) -> dict[str, Any]:
    """A row of `service_logs`."""
    return {
        "id": row.id,
        "timestamp": render_time(row.timestamp, row.timestamp_ns),
        "timestamp_ns": row.timestamp_ns,
        "service_name": row.service_name,
        "log_level": row.log_level,
        "severity_number": row.severity_number,
        "severity_text": row.severity_text,
        "message": row.message,
        "body": _json(row.body),
        "metadata": _json(row.metadata),
        "trace_id": _uuid(row.trace_id),
        "span_id": _bytes(row.span_id),
        "parent_span_id": _bytes(row.parent_span_id),
        "observed_timestamp": render_time(row.observed_timestamp, row.observed_ns),
        "observed_ns": row.observed_ns,
        "source_file": row.source_file,
        "source_line": row.source_line,
        "event_name": row.event_name,
        "flags": row.flags,
        "dropped_attributes_count": row.dropped_attributes_count,
        "resource_id": _uuid(row.resource_id),
        "scope_id": _uuid(row.scope_id),
        "received_at": render_time(row.received_at),
        "original_time_unix_nano": _decimal(row.original_time_unix_nano),
        "tenant_id": row.tenant_id,
    }


def render_placed_span(placed: PlacedSpan) -> dict[str, Any]:
    """A row of `service_spans`, with its place in the tree."""
    return {**render_span(placed.row), "depth": placed.depth, "self_time_ms": placed.self_time_ms}


def render_span(row: SpanRow) -> dict[str, Any]:
    """A row of `service_spans`."""
    return {
        "trace_id": row.trace_id.hex,
        "span_id": row.span_id.hex(),
        "parent_span_id": _bytes(row.parent_span_id),
        "service_name": row.service_name,
        "operation_name": row.operation_name,
        "kind": row.kind,
        "start_time": render_time(row.start_time, row.start_ns),
        "start_ns": row.start_ns,
        "duration_ms": render_float(row.duration_ms),
        "duration_ns": row.duration_ns,
        "status": row.status,
        "status_message": row.status_message,
        "status_code": row.status_code,
        "attributes": _json(row.attributes),
        "events": _json(row.events),
        "links": _json(row.links),
        "trace_state": row.trace_state,
        "flags": row.flags,
        "dropped_attributes_count": row.dropped_attributes_count,
        "dropped_events_count": row.dropped_events_count,
        "dropped_links_count": row.dropped_links_count,
        "resource_id": _uuid(row.resource_id),
        "scope_id": _uuid(row.scope_id),
        "received_at": render_time(row.received_at),
        "original_time_unix_nano": _decimal(row.original_time_unix_nano),
        "original_end_unix_nano": _decimal(row.original_end_unix_nano),
        "tenant_id": row.tenant_id,
    }


def render_metric(row: MetricRow) -> dict[str, Any]:
    """A row of `service_metrics`."""
    return {
        "id": row.id,
        "timestamp": render_time(row.timestamp),
        "service_name": row.service_name,
        "metric_name": row.metric_name,
        "metric_type": row.metric_type,
        "metric_value": render_float(row.metric_value),
        "labels": _json(row.labels),
        "unit": row.unit,
        "temporality": row.temporality,
        "count": row.count,
        "sum": render_float(row.sum),
        "min": render_float(row.min),
        "max": render_float(row.max),
        "tenant_id": row.tenant_id,
        "series_id": row.series_id.hex,
    }


def render_health(row: HealthRow) -> dict[str, Any]:
    """A row of `v_system_health`."""
    return {
        "service_name": row.service_name,
        "status": row.status,
        "version": row.version,
        "last_heartbeat": render_time(row.last_heartbeat),
        "seconds_since_heartbeat": row.seconds_since_heartbeat,
        "active_traces": row.active_traces,
        "error_count_1h": row.error_count_1h,
    }


def render_service(row: ServiceRow) -> dict[str, Any]:
    """A row of `service_registry`, with its signs."""
    return {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "name": row.name,
        "instance_id": row.instance_id,
        "version": row.version,
        "status": row.status,
        "status_since": render_time(row.status_since),
        "status_reason": row.status_reason,
        "port": row.port,
        "health_url": row.health_url,
        "metadata": _json(row.metadata),
        "registered_at": render_time(row.registered_at),
        "registered": row.registered,
        "last_heartbeat": render_time(row.last_heartbeat),
        "last_registration": render_time(row.last_registration),
        "last_registration_heartbeat": render_time(row.last_registration_heartbeat),
        "reported_status": row.reported_status,
        "last_telemetry": render_time(row.last_telemetry),
        "last_probe": render_time(row.last_probe),
        "last_probe_ok": row.last_probe_ok,
        "last_probe_error": row.last_probe_error,
        "probe_latency_ms": row.probe_latency_ms,
        "next_probe_at": render_time(row.next_probe_at),
        "signs": {
            "registered": row.registered,
            "heartbeats": row.signs_heartbeats,
            "telemetry": row.signs_telemetry,
            "probe_ok": row.last_probe_ok,
            "summary": row.signs_summary,
        },
    }


def render_rejected(row: RejectedRow) -> dict[str, Any]:
    """A row of `ingest_rejected`, without its payload."""
    return {
        "id": row.id,
        "rejected_at": render_time(row.rejected_at),
        "received_at": render_time(row.received_at),
        "signal": row.signal,
        "service_name": row.service_name,
        "items": row.items,
        "reason": row.reason,
        "sqlstate": row.sqlstate,
        "told": row.told,
        "key": row.key.hex(),
        "tenant_id": row.tenant_id,
    }


def render_rejected_item(item: RejectedItem) -> dict[str, Any]:
    """A row of `ingest_rejected` with its payload, as it is and as OTLP JSON."""
    try:
        otlp = json_object(SIGNALS[item.row.signal].request.FromString(item.payload))
    except (DecodeError, KeyError):
        otlp = None  # it is shown in base64 all the same
    return {**render_rejected(item.row), "payload": base64.b64encode(item.payload).decode(), "otlp": otlp}


def render_operation(row: OperationRow) -> dict[str, Any]:
    """A row of `v_service_performance`."""
    return {
        "service_name": row.service_name,
        "operation_name": row.operation_name,
        "call_count": row.call_count,
        "avg_duration_ms": render_float(row.avg_duration_ms),
        "p50_ms": render_float(row.p50_ms),
        "p95_ms": render_float(row.p95_ms),
        "p99_ms": render_float(row.p99_ms),
        "error_count": row.error_count,
    }


def render_trace(trace: Trace) -> dict[str, Any]:
    """A whole trace."""
    return {
        "trace_id": trace.trace_id.hex,
        "duration_ms": trace.duration_ms,
        "error_count": trace.error_count,
        "services": trace.services,
        "truncated": trace.truncated,
        "searched_from": render_time(trace.searched_from),
        "warnings": trace.warnings,
        "spans": [render_placed_span(span) for span in trace.spans],
        "logs": [render_log(row) for row in trace.logs],
        "resources": {resource.hex: _json(attributes) for resource, attributes in trace.resources.items()},
    }
