"""OTLP values as JSON: for people and search, and whether that is the whole truth.

int → number without a fraction · double → number with one · bool · string · array → array · key-value list → object ·
bytes → base64 text · NaN and infinities → "NaN", "Infinity", "-Infinity" · a value that is not set → null.

A value is *exact* when jsonb gives back what was sent. It does not for bytes, NaN, infinities and -0.0; for doubles
that jsonb prints without a fraction or with hundreds of digits; for keys that occur twice; for values that are not set
or refer to a string table; and for NUL, which jsonb cannot hold. Where a list is not exact its protobuf encoding is
kept beside it.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList

MAX_DEPTH = 92
"""Messages inside each other below a value: an array adds 2, a key-value list 3. Protobuf parsers refuse more than 100,
and the attributes of an exemplar begin 8 messages deep in a request: what is stored can always be sent again."""
TOO_DEEP = (
    "an attribute or body value is nested too deep: protobuf takes 100 messages inside each other, envelopes included"
)
REPLACEMENT = "\ufffd"

# Proto versions before 1.8 have no string table; a field they do not know stays in the raw encoding.
_HAS_KEY_STRINDEX = "key_strindex" in KeyValue.DESCRIPTOR.fields_by_name
_NUL_ESCAPE = b"\\u0000"


class InvalidItem(Exception):
    """One span, log record or point cannot be stored; the message names the field, never its value."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


def json_double(value: float) -> tuple[float | str, bool]:
    """A double as JSON, and whether jsonb reproduces it to the bit.

    jsonb keeps numbers as decimals: it has no -0, and prints 1e20 as an integer. The lower bound keeps the digits few.
    """
    if 1e-16 <= value < 1e16 or -1e16 < value <= -1e-16:
        return value, True
    if value == 0.0:
        return value, math.copysign(1.0, value) > 0.0
    if value != value:
        return "NaN", False
    if math.isinf(value):
        return ("Infinity" if value > 0 else "-Infinity"), False
    return value, False


def json_value(value: AnyValue, depth: int = 0) -> tuple[Any, bool]:
    """An AnyValue as a JSON value, and whether it is exact. `depth` counts the messages around it within a value.

    Raises:
        InvalidItem: it is nested too deep.
    """
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value, True
    if kind == "int_value":
        return value.int_value, True
    if kind == "bool_value":
        return value.bool_value, True
    if kind == "double_value":
        return json_double(value.double_value)
    if kind == "array_value":
        return _json_array(value.array_value.values, depth + 2)
    if kind == "kvlist_value":
        return json_object(value.kvlist_value.values, depth + 3)
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode(), False
    return None, False


def _json_array(values: Sequence[AnyValue], depth: int) -> tuple[list[Any], bool]:
    if depth > MAX_DEPTH:
        raise InvalidItem(TOO_DEEP)
    items = []
    exact = True
    for value in values:
        item, item_exact = json_value(value, depth)
        items.append(item)
        exact = exact and item_exact
    return items, exact


def json_object(pairs: Sequence[KeyValue], depth: int = 0) -> tuple[dict[str, Any], bool]:
    """A key-value list as a JSON object, and whether it is exact. The last of several equal keys is shown.

    Raises:
        InvalidItem: it is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise InvalidItem(TOO_DEEP)
    fields: dict[str, Any] = {}
    exact = True
    count = 0
    for pair in pairs:
        count += 1
        value = pair.value
        if text := value.string_value:  # the usual case first: one look instead of three
            fields[pair.key] = text
        else:
            fields[pair.key], value_exact = json_value(value, depth)
            if not value_exact:
                exact = False
        if _HAS_KEY_STRINDEX and pair.key_strindex:
            exact = False
    return fields, exact and len(fields) == count


def raw_pairs(pairs: Sequence[KeyValue]) -> bytes:
    """The protobuf encoding of a KeyValueList with values that `json_object` took."""
    return KeyValueList(values=pairs).SerializeToString()


def json_text(value: Any, column: str, replaced: Counter[str]) -> tuple[bytes, bool]:
    """JSON text that jsonb takes, and whether it is what was given: NUL becomes U+FFFD, counted under `column`."""
    text = orjson.dumps(value)
    if _NUL_ESCAPE not in text:
        return text, True
    before = replaced[column]
    clean = _without_nul(value, column, replaced)
    if replaced[column] == before:  # a backslash followed by the letters u0000
        if not before:
            del replaced[column]
        return text, True
    return orjson.dumps(clean), False


def _without_nul(value: Any, column: str, replaced: Counter[str]) -> Any:
    if isinstance(value, str):
        return clean_text(value, column, replaced)
    if isinstance(value, list):
        return [_without_nul(item, column, replaced) for item in value]
    if isinstance(value, dict):
        return {clean_text(k, column, replaced): _without_nul(v, column, replaced) for k, v in value.items()}
    return value


def clean_text(value: str, column: str, replaced: Counter[str]) -> str:
    """The text without NUL, which PostgreSQL cannot hold: it becomes U+FFFD, counted under `column`."""
    if "\0" not in value:
        return value
    replaced[column] += value.count("\0")
    return value.replace("\0", REPLACEMENT)
