"""OTLP's attributes as Jaeger's tags."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Tag = dict[str, Any]
_SAFE = 2**53 - 1
"""The largest integer that JavaScript keeps exactly."""
_MAX_DEPTH = 100
"""Values within values, which is more than protobuf's own parser reads."""


def tag(key: str, value: str) -> Tag:
    """A tag that is text."""
    return {"key": key, "type": "string", "value": value}


def tags(attributes: Iterable[KeyValue]) -> list[Tag]:
    """Attributes as tags, in their order; a key that comes twice is there twice."""
    return [_tag(pair.key, pair.value) for pair in attributes]


def _tag(key: str, value: AnyValue) -> Tag:
    which = value.WhichOneof("value")
    if which == "string_value":
        return {"key": key, "type": "string", "value": value.string_value}
    if which == "bool_value":
        return {"key": key, "type": "bool", "value": value.bool_value}
    if which == "int_value":
        number = value.int_value
        # As Jaeger: its readers are browsers, which would round what is larger.
        return {"key": key, "type": "int64", "value": number if -_SAFE <= number <= _SAFE else str(number)}
    if which == "double_value":
        return {"key": key, "type": "float64", "value": double(value.double_value)}
    if which == "bytes_value":
        return {"key": key, "type": "binary", "value": base64.b64encode(value.bytes_value).decode()}
    return {"key": key, "type": "string", "value": any_text(value)}


def double(value: float) -> float | str:
    """A number; what JSON has no number for is `NaN`, `Infinity` or `-Infinity`, as protobuf's JSON has it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def any_text(value: AnyValue) -> str:
    """A value as text: text as it is, no value as nothing, all others as JSON."""
    plain = _plain(value, 0)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else orjson.dumps(plain).decode()


def _plain(value: AnyValue, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return "…"
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_plain(item, depth + 1) for item in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: _plain(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if which == "double_value":
        return double(value.double_value)
    return getattr(value, which, None)
