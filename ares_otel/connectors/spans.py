"""What connectors read from spans and their resources."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

UNKNOWN_SERVICE = "unknown_service"
"""As in the database, where a resource names no service."""

_NO_ID = (b"", bytes(8), bytes(16))


def is_valid(span: Any) -> bool:
    """By the rules of trace.proto: ids of 16 and 8 bytes, not all zero."""
    trace_id, span_id, parent = span.trace_id, span.span_id, span.parent_span_id
    return (
        len(trace_id) == 16
        and trace_id not in _NO_ID
        and len(span_id) == 8
        and span_id not in _NO_ID
        and len(parent) in (0, 8)
    )


def has_parent(span: Any) -> bool:
    """Whether it names a parent."""
    return span.parent_span_id not in _NO_ID


def service_name(attributes: Iterable[KeyValue]) -> str:
    """`service.name` of a resource."""
    return next((text(one.value) for one in attributes if one.key == "service.name"), "") or UNKNOWN_SERVICE


def text(value: AnyValue) -> str:
    """A value as text; empty when it is not set."""
    kind = value.WhichOneof("value")
    return value.string_value if kind == "string_value" else "" if kind is None else str(getattr(value, kind))


def wanted_attributes(names: Container[str], attributes: Iterable[KeyValue]) -> dict[str, AnyValue]:
    """Those attributes that somebody asks for; nothing is looked at when nobody does."""
    return {one.key: one.value for one in attributes if one.key in names} if names else {}


def text_attribute(key: str, text: str) -> KeyValue:
    """An attribute that is a text."""
    return KeyValue(key=key, value=AnyValue(string_value=text))
