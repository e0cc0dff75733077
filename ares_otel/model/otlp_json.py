"""OTLP's JSON encoding (OTLP specification, "JSON Protobuf Encoding"): protobuf's JSON, but ids in hex and enums as
numbers. Protobuf's own `json_format` takes several times as long for it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_64_BITS = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
        FieldDescriptor.TYPE_SINT64,
    }
)
_Member = tuple[str, Callable[[Any], Any]]
_members: dict[FieldDescriptor, _Member] = {}
"""Name and form of a field's values; OTLP has about a hundred fields."""


def encode_json(message: Message) -> bytes:
    """The request in JSON."""
    return orjson.dumps(json_object(message))


def json_object(message: Message) -> dict[str, Any]:
    """The request as what its JSON holds: dicts, lists, text, numbers and truth values."""
    found = {}
    for field, value in message.ListFields():
        member = _members.get(field)
        if member is None:
            member = _members[field] = (field.json_name, _form(field))
        found[member[0]] = member[1](value)
    return found


def _form(field: FieldDescriptor) -> Callable[[Any], Any]:
    one = _form_of_one(field)
    if not field.is_repeated:
        return one
    return list if one is _same else lambda values: [one(value) for value in values]


def _form_of_one(field: FieldDescriptor) -> Callable[[Any], Any]:
    if field.message_type is not None:
        return json_object
    if field.type in _64_BITS:
        return str
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _double
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.hex if field.json_name in _IDS else _base64
    return _same


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _same(value: Any) -> Any:
    return value
