"""Values of attributes as Zipkin's text, and back.

Source: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation", "Attribute".
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_DEPTH = 16
"""Lists within lists that are read back from JSON in a text; deeper ones stay text."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DOUBLE = re.compile(r"-?[0-9]{1,40}\.[0-9]{1,40}([eE][+-]?[0-9]{1,3})?")
_SPECIAL = {math.inf: "Infinity", -math.inf: "-Infinity"}


class TooDeep(ValueError):
    """A value from JSON that is nested deeper than `MAX_DEPTH`."""


def text_of(value: AnyValue) -> str:
    """The value as a tag's text: truth values and numbers as in JSON, lists and maps as JSON, bytes in base64."""
    if value.HasField("string_value"):
        return value.string_value
    plain = json_value(value)
    if isinstance(plain, str):
        return plain
    if plain is None:
        return ""
    text = orjson.dumps(plain).decode()
    if isinstance(plain, float) and "." not in text:
        return text.replace("e", ".0e")  # 1e16: without a point it would be text to whoever looks for numbers
    return text


def json_value(value: AnyValue) -> Any:
    """The value as JSON has it: bytes in base64, NaN and infinities as text, a value that is not set as null."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [json_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return json_object(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode("ascii")
    if kind == "double_value" and not math.isfinite(value.double_value):
        return _SPECIAL.get(value.double_value, "NaN")
    return getattr(value, kind) if kind else None


def json_object(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as a JSON object; of a key that comes twice the last one counts."""
    return {attribute.key: json_value(attribute.value) for attribute in attributes}


def parse_text(text: str, into: AnyValue) -> None:
    """The value that a text is written like: an integer without leading zeros, a number with a point, `true` or
    `false`; else the text (`parse_string_tags`)."""
    if _INTEGER.fullmatch(text) and -(2**63) <= (number := int(text)) < 2**63:
        into.int_value = number
    elif _DOUBLE.fullmatch(text) and math.isfinite(double := float(text)):
        into.double_value = double
    elif text in ("true", "false"):
        into.bool_value = text == "true"
    else:
        into.string_value = text


def fill(into: AnyValue, value: Any, depth: int = 1) -> None:
    """Puts a value from JSON into a message. Raises TooDeep."""
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, int):
        if -(2**63) <= value < 2**63:
            into.int_value = value
        else:
            into.string_value = str(value)
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, list):
        into.array_value.SetInParent()
        for one in value:
            fill(into.array_value.values.add(), one, depth + 1)
    elif isinstance(value, dict):
        into.kvlist_value.SetInParent()
        add_attributes(into.kvlist_value.values, value, depth + 1)


def add_attributes(attributes: Any, values: dict[str, Any], depth: int = 1) -> None:
    """Adds the members of a JSON object to a list of attributes. Raises TooDeep."""
    for key, value in values.items():
        made = attributes.add(key=key)
        made.value.SetInParent()
        fill(made.value, value, depth)
