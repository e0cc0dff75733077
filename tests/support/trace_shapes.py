"""Traces made of a few words, as `query.traces.find_trace` would give them, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ares_otel.cli.traceview.report import report
from ares_otel.cli.traceview.text import Script
from ares_otel.cli.traceview.view import View, view_of
from ares_otel.cli.traceview.waterfall import Options
from ares_otel.query.instant import Instant
from ares_otel.query.rows import Json, LogRow, SpanRow
from ares_otel.query.trace_tree import TreeSpan, build_tree
from ares_otel.query.traces import PlacedSpan, Trace, start_unix_nano

BEGIN = 1_769_860_800_000_000_000
"""2026-01-31 12:00:00 UTC."""
MS = 1_000_000
TRACE_ID = UUID(hex="5b8aa5a2d2c872e8321cf37308d69df2")


def span(
    name: str,
    start: float,
    end: float,
    parent: str | None = None,
    *,
    service: str = "shop",
    id: str | None = None,
    **changes: Any,
) -> SpanRow:
    """A span that is also named by `id` (its name, where nothing is said). `start`, `end`: milliseconds."""
    begin = BEGIN + round(start * MS)
    at = Instant.from_ns(begin)
    duration = round((end - start) * MS)
    values: dict[str, Any] = {
        "tenant_id": 0,
        "trace_id": TRACE_ID,
        "span_id": span_id(id or name),
        "parent_span_id": None if parent is None else span_id(parent),
        "service_name": service,
        "operation_name": name,
        "kind": "internal",
        "start_time": at.time,
        "start_ns": at.ns,
        "duration_ms": duration / MS,
        "duration_ns": duration,
        "status": "unset",
        "status_message": None,
        "status_code": None,
        "attributes": Json("{}"),
        "events": Json("[]"),
        "links": Json("[]"),
        "trace_state": None,
        "flags": 0,
        "dropped_attributes_count": None,
        "dropped_events_count": None,
        "dropped_links_count": None,
        "resource_id": None,
        "scope_id": None,
        "received_at": at.time,
        "original_time_unix_nano": None,
        "original_end_unix_nano": None,
    }
    for key in ("attributes", "events", "links"):
        if key in changes:
            changes[key] = Json(json.dumps(changes[key]))
    return SpanRow(**{**values, **changes})


def log(message: str, at: float, span_name: str | None, *, level: str = "INFO", service: str = "shop") -> LogRow:
    """A log record in the span with this id. `at`: milliseconds."""
    when = Instant.from_ns(BEGIN + round(at * MS))
    return LogRow(
        tenant_id=0,
        id=1,
        trace_id=TRACE_ID,
        span_id=None if span_name is None else span_id(span_name),
        parent_span_id=None,
        service_name=service,
        log_level=level,
        severity_number=9,
        severity_text=None,
        message=message,
        body=None,
        metadata=Json("{}"),
        timestamp=when.time,
        timestamp_ns=when.ns,
        observed_timestamp=None,
        observed_ns=None,
        source_file=None,
        source_line=None,
        event_name=None,
        flags=0,
        dropped_attributes_count=None,
        resource_id=None,
        scope_id=None,
        received_at=when.time,
        original_time_unix_nano=None,
    )


def event(name: str, at: float, **attributes: Any) -> dict[str, Any]:
    """An event of a span. `at`: milliseconds."""
    return {"name": name, "time_unix_nano": BEGIN + round(at * MS), "attributes": attributes}


def span_id(name: str) -> bytes:
    return name.encode()[-8:].rjust(8, b"\0")


def trace_of(spans: Sequence[SpanRow], logs: Sequence[LogRow] = (), **changes: Any) -> Trace:
    """The trace, with what `find_trace` works out."""
    nodes = [
        TreeSpan(row.span_id, row.parent_span_id, row.service_name, start_unix_nano(row), row.duration_ns)
        for row in spans
    ]
    tree = build_tree(nodes)
    values: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "spans": [PlacedSpan(spans[place.index], place.depth, place.self_time_ns / MS) for place in tree.order],
        "logs": list(logs),
        "services": sorted({row.service_name for row in spans} | {row.service_name for row in logs}),
        "duration_ms": 0.0,
        "error_count": 0,
        "resources": {},
        "warnings": tree.warnings,
        "truncated": False,
        "searched_from": None,
    }
    return Trace(**{**values, **changes})


def picture(
    trace: Trace, *, width: int = 80, encoding: str = "utf-8", logs: bool = True, raw: bool = False, **options: Any
) -> str:
    """What a terminal of this width and encoding shows, without colours."""
    lines = report(trace, view_of(trace, logs=logs, raw=raw), Options(width, Script(encoding), **options))
    return "".join(f"{line.plain.rstrip()}\n" for line in lines)


def path_of(view: View) -> list[tuple[str, float, float]]:
    """The critical path by time: (operation, start, end), in milliseconds after `BEGIN`."""
    sections = [(start, end, node.row.operation_name) for node in view.nodes for start, end in node.path]
    return [(name, (start - BEGIN) / MS, (end - BEGIN) / MS) for start, end, name in sorted(sections)]
