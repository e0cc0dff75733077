"""An example answer for each endpoint, for the OpenAPI document. A test validates them against the models."""

from __future__ import annotations

from typing import Any

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_RESOURCE = "0b1f6a54d6c87f2f3a53c1b6c0e6a3d1"
_SCOPE = "9d3a4f0f8a3b2f61c3c7a1d2e5b4f607"

LOG: dict[str, Any] = {
    "id": 4211,
    "timestamp": "2026-01-31T12:00:00.123456789Z",
    "timestamp_ns": 789,
    "service_name": "orders",
    "log_level": "ERROR",
    "severity_number": 17,
    "severity_text": "ERROR",
    "message": "payment was declined",
    "body": None,
    "metadata": {"order.id": 815},
    "trace_id": _TRACE,
    "span_id": "00f067aa0ba902b7",
    "parent_span_id": None,
    "observed_timestamp": "2026-01-31T12:00:00.124000Z",
    "observed_ns": 0,
    "source_file": "orders/checkout.py",
    "source_line": 42,
    "event_name": None,
    "flags": 1,
    "dropped_attributes_count": None,
    "resource_id": _RESOURCE,
    "scope_id": _SCOPE,
    "received_at": "2026-01-31T12:00:00.200000Z",
    "original_time_unix_nano": None,
    "tenant_id": 0,
}
SPAN: dict[str, Any] = {
    "trace_id": _TRACE,
    "span_id": "00f067aa0ba902b7",
    "parent_span_id": None,
    "depth": 0,
    "service_name": "orders",
    "operation_name": "POST /orders",
    "kind": "server",
    "start_time": "2026-01-31T12:00:00.100000Z",
    "start_ns": 0,
    "duration_ms": 41.5,
    "duration_ns": 41500000,
    "self_time_ms": 12.25,
    "status": "error",
    "status_message": "payment was declined",
    "status_code": None,
    "attributes": {"http.request.method": "POST", "http.response.status_code": 402},
    "events": [],
    "links": [],
    "trace_state": None,
    "flags": 257,
    "dropped_attributes_count": None,
    "dropped_events_count": None,
    "dropped_links_count": None,
    "resource_id": _RESOURCE,
    "scope_id": _SCOPE,
    "received_at": "2026-01-31T12:00:00.200000Z",
    "original_time_unix_nano": None,
    "original_end_unix_nano": None,
    "tenant_id": 0,
}
FOUND_SPAN: dict[str, Any] = {key: value for key, value in SPAN.items() if key not in ("depth", "self_time_ms")}
METRIC: dict[str, Any] = {
    "id": 907,
    "timestamp": "2026-01-31T12:00:00.000000Z",
    "service_name": "orders",
    "metric_name": "http.server.request.duration",
    "metric_type": "histogram",
    "metric_value": 0.0315,
    "labels": {"http.route": "/orders"},
    "unit": "s",
    "temporality": "cumulative",
    "count": 120,
    "sum": 3.78,
    "min": 0.004,
    "max": 0.91,
    "tenant_id": 0,
    "series_id": "5f0c2f6e1f7b4c0f8a1d2c3b4a596877",
}
LOGS: dict[str, Any] = {"logs": [LOG], "next": None}
SPANS: dict[str, Any] = {"spans": [FOUND_SPAN], "next": None, "truncated": False}
METRICS: dict[str, Any] = {"metrics": [METRIC], "next": None}
HEALTH: dict[str, Any] = {
    "services": [
        {
            "service_name": "orders",
            "status": "online",
            "version": "1.4.2",
            "last_heartbeat": "2026-01-31T12:00:00.200000Z",
            "seconds_since_heartbeat": 3.2,
            "active_traces": 118,
            "error_count_1h": 4,
        }
    ],
    "since": "2026-01-31T11:00:00.000000Z",
    "exact": False,
    "truncated": False,
}
PERFORMANCE: dict[str, Any] = {
    "operations": [
        {
            "service_name": "orders",
            "operation_name": "POST /orders",
            "call_count": 120,
            "avg_duration_ms": 31.5,
            "p50_ms": 24.1,
            "p95_ms": 88.0,
            "p99_ms": 410.7,
            "error_count": 4,
        }
    ],
    "since": "2026-01-31T11:00:00.000000Z",
    "exact": False,
    "truncated": False,
}
TRACE: dict[str, Any] = {
    "trace_id": _TRACE,
    "duration_ms": 41.5,
    "error_count": 1,
    "services": ["orders"],
    "truncated": False,
    "searched_from": None,
    "warnings": [],
    "spans": [SPAN],
    "logs": [LOG],
    "resources": {_RESOURCE: {"service.name": "orders", "service.version": "1.4.2"}},
}
REJECTED_ROW: dict[str, Any] = {
    "id": 7,
    "rejected_at": "2026-01-31T12:00:00.250000Z",
    "received_at": "2026-01-31T12:00:00.200000Z",
    "signal": "logs",
    "service_name": "orders",
    "items": 1,
    "reason": "numeric field overflow",
    "sqlstate": "22003",
    "told": True,
    "key": "1f6f0f9d2a9b4f0e8c1d5b7a90e3c2d4",
    "tenant_id": 0,
}
REJECTED: dict[str, Any] = {"rejected": [REJECTED_ROW], "next": None}
REJECTED_ITEM: dict[str, Any] = {
    **REJECTED_ROW,
    "payload": "ChgKABIUEhIyAggBKgoKCGRlY2xpbmVk",
    "otlp": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "declined"}}]}]}]},
}
REGISTERED: dict[str, Any] = {
    "id": 17,
    "tenant_id": 0,
    "name": "orders",
    "instance_id": "orders-7c9f",
    "version": "1.4.2",
    "status": "degraded",
    "status_since": "2026-01-31T11:59:40.000000Z",
    "status_reason": "Its health check fails although it sends heartbeats.",
    "port": 8000,
    "health_url": "http://orders.internal:8000/health",
    "metadata": {"team": "checkout", "telemetry.sdk.language": "python"},
    "registered_at": "2026-01-31T09:12:03.000000Z",
    "registered": True,
    "last_heartbeat": "2026-01-31T12:00:00.200000Z",
    "last_registration": "2026-01-31T09:12:03.000000Z",
    "last_registration_heartbeat": "2026-01-31T12:00:00.200000Z",
    "reported_status": "online",
    "last_telemetry": "2026-01-31T11:59:58.000000Z",
    "last_probe": "2026-01-31T11:59:40.000000Z",
    "last_probe_ok": False,
    "last_probe_error": "The answer was 503; 2xx is expected.",
    "probe_latency_ms": 4.2,
    "next_probe_at": "2026-01-31T12:00:12.000000Z",
    "signs": {
        "registered": True,
        "heartbeats": True,
        "telemetry": True,
        "probe_ok": False,
        "summary": "sends heartbeats and telemetry",
    },
}
HEARD: dict[str, Any] = {**REGISTERED, "heartbeat_interval": 30.0}
REGISTRY: dict[str, Any] = {"services": [REGISTERED], "next": None}
REGISTRATION: dict[str, Any] = {
    "name": "orders",
    "version": "1.4.2",
    "instance_id": "orders-7c9f",
    "port": 8000,
    "health_url": "http://orders.internal:8000/health",
    "metadata": {"team": "checkout"},
}
HEARTBEAT: dict[str, Any] = {"status": "online"}
