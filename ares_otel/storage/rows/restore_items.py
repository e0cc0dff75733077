"""Rows back to OTLP messages, one function a message. Pure: no database.

A row is anything with the table's columns by name. What the sender did not send comes back as not sent.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.storage.rows.restore_values import (
    Row,
    any_value,
    attributes,
    filed_time,
    json_column,
    key_values,
    unix_nano,
)
from ares_otel.storage.rows.spans import KINDS, STATUSES


def resource_from_row(row: Row) -> Resource | None:
    """The resource of a row of otel_resources; None when the sender sent none. The schema URL is not part of it."""
    if row["attributes"] is None:
        return None
    resource = Resource(
        attributes=attributes(row["attributes"], row["attributes_raw"]),
        dropped_attributes_count=row["dropped_attributes_count"] or 0,
    )
    if row["entity_refs"] is not None:
        resource.MergeFromString(row["entity_refs"])
    return resource


def resource_of_service(service_name: str) -> Resource:
    """A resource for rows that have none, because they were not written by OTLP or their definition has expired."""
    return Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service_name))])


def scope_from_row(row: Row) -> InstrumentationScope | None:
    """The scope of a row of otel_scopes; None when the sender sent none. The schema URL is not part of it."""
    if row["name"] is None:
        return None
    return InstrumentationScope(
        name=row["name"],
        version=row["version"],
        attributes=attributes(row["attributes"], row["attributes_raw"]),
        dropped_attributes_count=row["dropped_attributes_count"] or 0,
    )


def span_from_row(row: Row) -> Span:
    """The span of a row of service_spans."""
    start = filed_time(row, "start_time", "start_ns")
    end = row["original_end_unix_nano"]
    return Span(
        trace_id=_id_bytes(row["trace_id"]),
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"] or b"",
        trace_state=row["trace_state"] or "",
        flags=row["flags"],
        name=row["operation_name"],
        kind=_number(KINDS, row["kind"]),  # type: ignore[arg-type] # open enum
        start_time_unix_nano=start,
        end_time_unix_nano=start + row["duration_ns"] if end is None else int(end),
        attributes=attributes(row["attributes"], row["attributes_raw"]),
        dropped_attributes_count=row["dropped_attributes_count"] or 0,
        events=events_from_row(row),
        dropped_events_count=row["dropped_events_count"] or 0,
        links=links_from_row(row),
        dropped_links_count=row["dropped_links_count"] or 0,
        status=status_from_row(row),
    )


def status_from_row(row: Row) -> Status | None:
    """The status of a row of service_spans; None when the sender sent none."""
    code = row["status_code"]
    if row["status_message"] is None:
        # A row written by hand may have a status and no message; OTLP's own rows never do.
        return None if row["status"] == STATUSES[0] else Status(code=_number(STATUSES, row["status"]))  # type: ignore[arg-type]
    number = _number(STATUSES, row["status"]) if code is None else code
    return Status(message=row["status_message"], code=number)  # type: ignore[arg-type]


def events_from_row(row: Row) -> list[Span.Event]:
    """The events of a row of service_spans."""
    if row["events_raw"] is not None:
        return list(Span.FromString(row["events_raw"]).events)
    return [
        Span.Event(
            name=item["name"],
            time_unix_nano=item["time_unix_nano"],
            attributes=key_values(item["attributes"]),
            dropped_attributes_count=item.get("dropped_attributes_count", 0),
        )
        for item in json_column(row["events"])
    ]


def links_from_row(row: Row) -> list[Span.Link]:
    """The links of a row of service_spans."""
    if row["links_raw"] is not None:
        return list(Span.FromString(row["links_raw"]).links)
    return [
        Span.Link(
            trace_id=bytes.fromhex(item["trace_id"]),
            span_id=bytes.fromhex(item["span_id"]),
            trace_state=item.get("trace_state", ""),
            attributes=key_values(item["attributes"]),
            dropped_attributes_count=item.get("dropped_attributes_count", 0),
            flags=item.get("flags", 0),
        )
        for item in json_column(row["links"])
    ]


def log_from_row(row: Row) -> LogRecord:
    """The log record of a row of service_logs."""
    return LogRecord(
        time_unix_nano=filed_time(row, "timestamp", "timestamp_ns"),
        observed_time_unix_nano=unix_nano(row["observed_timestamp"], row["observed_ns"]),
        severity_number=row["severity_number"],
        severity_text=row["severity_text"] or "",
        body=body_from_row(row),
        attributes=attributes(row["metadata"], row["attributes_raw"]),
        dropped_attributes_count=row["dropped_attributes_count"] or 0,
        flags=row["flags"],
        trace_id=_id_bytes(row["trace_id"]),
        span_id=row["span_id"] or b"",
        event_name=row["event_name"] or "",
    )


def body_from_row(row: Row) -> AnyValue | None:
    """The body of a row of service_logs; None when the sender sent none."""
    if row["body_raw"] is not None:
        return AnyValue.FromString(row["body_raw"])
    if row["body"] is not None:
        return any_value(json_column(row["body"]))
    return None if row["message"] is None else AnyValue(string_value=row["message"])


def _number(names: tuple[str, ...], name: str) -> int:
    """The number of an enum value from its name, or from the number as text."""
    return names.index(name) if name in names else int(name)


def _id_bytes(value: Any) -> bytes:
    """The bytes of a uuid column (asyncpg's UUID is a subclass of Python's); empty for NULL."""
    return value.bytes if isinstance(value, UUID) else b""
