"""OTLP's JSON encoding (OTLP specification, "JSON Protobuf Encoding"): protobuf's JSON, but ids in hex and enums as
numbers."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def encode_json(message: Message) -> bytes:
    """The request in JSON."""
    return orjson.dumps(json_object(message))


def json_object(message: Message) -> Any:
    """The request as what its JSON holds: dicts, lists, text, numbers and truth values."""
    return _with_hex_ids(MessageToDict(message, use_integers_for_enums=True))


def _with_hex_ids(value: Any) -> Any:
    """Keys of attributes are values in OTLP, so a member of one of these names is always an id."""
    if isinstance(value, dict):
        return {
            name: base64.b64decode(content).hex() if name in _IDS else _with_hex_ids(content)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    return value
