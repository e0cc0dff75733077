"""When two OTLP requests say the same.

Attribute lists are compared as multisets, at every depth; items as a multiset of (resource, scope, metric, item), so
that grouping and empty envelopes do not matter; an all-zero parent span id, or id of a log record, is no id. Everything
else must be equal to the bit: doubles by their bytes, enums by number, and whether an optional field is there at all.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Form = tuple[Any, ...]
_ZERO_MEANS_NONE = {"LogRecord.trace_id", "LogRecord.span_id", "Span.parent_span_id"}
_POINTS = frozenset({"data_points"})


def items_of(request: Any) -> Counter[Form]:
    """The items of an export request, each with all that stands around it."""
    found: Counter[Form] = Counter()
    (container_field,) = request.DESCRIPTOR.fields
    for container in getattr(request, container_field.name):
        resource = _part(container, "resource")
        scopes_field = next(f.name for f in container.DESCRIPTOR.fields if f.name.startswith("scope_"))
        for scope in getattr(container, scopes_field):
            around = (resource, container.schema_url, _part(scope, "scope"), scope.schema_url)
            for name in ("spans", "log_records", "metrics"):
                for item in getattr(scope, name, ()):
                    found.update((*around, form) for form in _items(item, name))
    return found


def _items(item: Any, name: str) -> list[Form]:
    if name != "metrics":
        return [form_of(item)]
    kind = item.WhichOneof("data")
    if kind is None:
        return []
    metric = form_of(item, without=_POINTS)
    return [(metric, form_of(point)) for point in getattr(item, kind).data_points]


def _part(message: Any, name: str) -> Form | None:
    return form_of(getattr(message, name)) if message.HasField(name) else None


def form_of(message: Message, without: frozenset[str] = frozenset()) -> Form:
    """A message as nested tuples that are equal when the messages say the same."""
    fields = []
    for field, value in message.ListFields():
        if field.name in without:
            continue
        if f"{message.DESCRIPTOR.name}.{field.name}" in _ZERO_MEANS_NONE and not any(value):
            continue
        fields.append((field.name, _field(field, value, without)))
    return tuple(fields)


def _field(field: FieldDescriptor, value: Any, without: frozenset[str]) -> Any:
    if not field.is_repeated:
        return _single(field, value, without)
    forms = [_single(field, item, without) for item in value]
    if field.message_type is not None and field.message_type.name == "KeyValue":
        forms.sort(key=repr)
    return tuple(forms)


def _single(field: FieldDescriptor, value: Any, without: frozenset[str]) -> Any:
    if field.message_type is not None:
        return form_of(value, without)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return struct.pack(">d", value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return ("bool", value)
    return value
