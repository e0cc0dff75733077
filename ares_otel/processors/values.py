"""Reading and writing OTLP attribute values (`opentelemetry.proto.common.v1`)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import MutableSequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_DEPTH = 64
"""Nesting that is looked at. Protobuf's own limit is lower for what comes off the wire; this one holds for all."""

Attributes = MutableSequence[KeyValue]
"""A repeated field of attributes."""

_INT64 = range(-(2**63), 2**63)


def find(attributes: Attributes, key: str) -> AnyValue | None:
    """The value of the first attribute with that key."""
    for attribute in attributes:
        if attribute.key == key:
            return attribute.value
    return None


def remove(attributes: Attributes, key: str) -> bool:
    """Takes out every attribute with that key (senders may repeat one). Returns whether there was any."""
    kept = [attribute for attribute in attributes if attribute.key != key]
    if len(kept) == len(attributes):
        return False
    replace_all(attributes, kept)
    return True


def replace_all(repeated: Any, kept: list[Any]) -> None:
    """Makes `kept`, elements of the repeated field in their order, its whole content."""
    del repeated[:]
    repeated.extend(kept)


def put(attributes: Attributes, key: str, value: AnyValue) -> bool:
    """Sets an attribute, once. Returns whether that changed anything."""
    same = [attribute for attribute in attributes if attribute.key == key]
    if len(same) == 1:
        if same[0].value == value:
            return False
        same[0].value.CopyFrom(value)
        return True
    remove(attributes, key)
    attributes.append(KeyValue(key=key, value=value))
    return True


def to_any_value(raw: Any) -> AnyValue:
    """An attribute value from a value of the configuration.

    Raises:
        ValueError: an integer that does not fit into 64 bits.
    """
    value = AnyValue()
    match raw:
        case bool():
            value.bool_value = raw
        case str():
            value.string_value = raw
        case int():
            if raw not in _INT64:
                raise ValueError(f"The integer {raw} does not fit into 64 bits.")
            value.int_value = raw
        case float():
            value.double_value = raw
        case list():
            value.array_value.SetInParent()
            value.array_value.values.extend(to_any_value(item) for item in raw)
        case dict():
            value.kvlist_value.SetInParent()
            value.kvlist_value.values.extend(
                KeyValue(key=str(key), value=to_any_value(item)) for key, item in raw.items()
            )
    return value


def scalar(value: AnyValue | None) -> Any:
    """The value as str, bool, int, float or bytes; an array or a map as its AnyValue; None where there is none."""
    if value is None or (kind := value.WhichOneof("value")) is None:
        return None
    return value if kind in ("array_value", "kvlist_value") else getattr(value, kind)


def as_string(value: AnyValue) -> str:
    """The value as text, as the Collector's `AsString` has it: JSON for arrays and maps, base64 for bytes."""
    return text_of(scalar(value))


def text_of(value: Any) -> str:
    """`as_string` of a value that `scalar` returned."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float_text(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _float_text(value: float) -> str:
    """Whole numbers without a fraction, as in JSON; otherwise the shortest text that reads back as the same number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if abs(value) < 1e21 and value.is_integer() else repr(value)


def _plain(value: AnyValue, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "…"
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: _plain(item.value, depth + 1) for item in value.kvlist_value.values}
    content = scalar(value)
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content
