"""OTLP JSON → protobuf messages, driven by the messages' own descriptors.

`google.protobuf.json_format` cannot do it: it reads ids as base64, takes snake_case names and enum names, and stops at
the first unknown enum. Source of the rules: OTLP specification 1.x, "JSON Protobuf Encoding"; for everything it does
not say, the proto3 JSON mapping.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ares_otel.model.errors import FieldViolation, Rejected
from ares_otel.model.json_text import parse_json

MAX_MESSAGE_DEPTH = 100
"""Messages within messages, as protobuf's own parser counts: what is deeper could not be read again."""

INVALID_ID = b"\xff"
"""Stands for an id that is not hexadecimal. No id has this length, so the row encoder rejects the item it is in, and
only this item."""

_ITEMS = {"opentelemetry.proto.trace.v1.Span", "opentelemetry.proto.logs.v1.LogRecord"}
"""The messages whose ids the row encoder checks; a wrong id of a link or an exemplar is an error of the whole body."""
_ID_LENGTHS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BASE64_URL = bytes.maketrans(b"-_", b"+/")

M = TypeVar("M", bound=Message)


class _Wrong(Exception):
    """A value that the field cannot hold. The path grows while the error travels up."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.path: list[str] = []


def decode(body: bytes, kind: type[M]) -> M:
    """Decodes an OTLP request.

    * Names are lowerCamelCase; any other name is unknown and ignored. `null` means not given. Of a name that comes
      twice the last one counts.
    * `traceId`, `spanId`, `parentSpanId` are hexadecimal, in either case. One of a span or log record that is not, or
      is of a wrong length, is handed on so that the item is rejected by itself; one of a link or exemplar that is not,
      and base64 of an id, is an error of the whole body.
    * Enums are integers, also unknown ones. 64-bit integers are numbers or strings, exactly. Bytes are base64.
    * Half a surrogate pair (`\\ud800`) becomes U+FFFD.

    Raises:
        Rejected: not JSON in UTF-8 without a byte order mark, or a value that its field cannot hold; with the path.
    """
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise Rejected("The body is not a JSON object.")
    message = kind()
    try:
        _fill(message, parsed, _fields(message.DESCRIPTOR), 1)
    except _Wrong as wrong:
        path = "".join(reversed(wrong.path)).lstrip(".")[:200]
        raise Rejected(f"{path}: {wrong.description}", violations=[FieldViolation(path, wrong.description)]) from wrong
    return message


_Setter = Callable[[Message, Any, int], None]
_Fields = dict[str, _Setter]
_tables: dict[str, _Fields] = {}


def _fields(descriptor: Any) -> _Fields:
    """JSON name → what puts a value of it into a message. Made once for each kind of message."""
    found = _tables.get(descriptor.full_name)
    if found is None:
        found = _tables[descriptor.full_name] = {}  # before its fields: AnyValue contains itself
        for field in descriptor.fields:
            found[field.json_name] = _setter(field)
    return found


def _fill(message: Message, values: dict[str, Any], fields: _Fields, depth: int) -> None:
    for name, value in values.items():
        if value is not None and (setter := fields.get(name)) is not None:
            try:
                setter(message, value, depth)
            except _Wrong as wrong:
                wrong.path.append(f".{name}")
                raise


def _setter(field: FieldDescriptor) -> _Setter:
    name = field.name
    if field.message_type is not None:
        return _repeated_messages(field) if field.is_repeated else _one_message(field)
    read = _reader(field)
    if field.is_repeated:

        def set_all(message: Message, value: Any, depth: int) -> None:
            if not isinstance(value, list):
                raise _Wrong("must be an array")
            target = getattr(message, name)
            for index, element in enumerate(value):
                try:
                    target.append(read(element))
                except _Wrong as wrong:
                    wrong.path.append(f"[{index}]")
                    raise

        return set_all

    def set_one(message: Message, value: Any, depth: int) -> None:
        setattr(message, name, read(value))

    return set_one


def _one_message(field: FieldDescriptor) -> _Setter:
    name, descriptor = field.name, field.message_type
    fields = _fields(descriptor)

    def set_message(message: Message, value: Any, depth: int) -> None:
        if not isinstance(value, dict):
            raise _Wrong("must be an object")
        if depth >= MAX_MESSAGE_DEPTH:
            raise _Wrong(f"is nested too deeply (more than {MAX_MESSAGE_DEPTH} messages)")
        target = getattr(message, name)
        target.SetInParent()
        _fill(target, value, fields, depth + 1)

    return set_message


def _repeated_messages(field: FieldDescriptor) -> _Setter:
    name, descriptor = field.name, field.message_type
    fields = _fields(descriptor)

    def add_messages(message: Message, value: Any, depth: int) -> None:
        if not isinstance(value, list):
            raise _Wrong("must be an array")
        if value and depth >= MAX_MESSAGE_DEPTH:
            raise _Wrong(f"is nested too deeply (more than {MAX_MESSAGE_DEPTH} messages)")
        add = getattr(message, name).add
        for index, element in enumerate(value):
            try:
                if not isinstance(element, dict):
                    raise _Wrong("must be an object")
                _fill(add(), element, fields, depth + 1)
            except _Wrong as wrong:
                wrong.path.append(f"[{index}]")
                raise

    return add_messages


def _reader(field: FieldDescriptor) -> Callable[[Any], Any]:
    """Reads a scalar of the field's type.

    Raises:
        _Wrong: on use, for a value of another type or out of range.
    """
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text
    if field.type == FieldDescriptor.TYPE_BYTES:
        if field.name not in _ID_LENGTHS:
            return _bytes
        assert field.containing_type is not None
        return _id_reader(_ID_LENGTHS[field.name], lenient=field.containing_type.full_name in _ITEMS)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _bool
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _double
    return _integer_reader(*_RANGES[field.cpp_type])


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a string")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _integer_reader(low: int, high: int) -> Callable[[Any], int]:
    def integer(value: Any) -> int:
        exact = True
        if isinstance(value, float):
            if not value.is_integer():
                raise _Wrong("must be an integer")
            value, exact = int(value), abs(value) <= 2**53
        elif isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        elif not isinstance(value, int) or isinstance(value, bool):
            raise _Wrong("must be an integer")
        if not low <= value <= high:
            raise _Wrong(f"must be between {low} and {high}")
        if not exact:
            raise _Wrong("must be written in digits, or as a string: it is too large for a number with a fraction")
        return int(value)

    return integer


_int32 = _integer_reader(*_RANGES[FieldDescriptor.CPPTYPE_INT32])


def _enum(value: Any) -> int:
    if isinstance(value, str):
        raise _Wrong("must be the integer of the enum value, not its name")
    return _int32(value)


def _double(value: Any) -> float:
    if isinstance(value, str):
        special = _SPECIAL.get(value)
        if special is not None:
            return special
        if not _NUMBER.fullmatch(value):
            raise _Wrong('must be a number, "NaN", "Infinity" or "-Infinity"')
        number = float(value)
        if math.isinf(number):
            raise _Wrong("is out of the range of a double")
        return number
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _Wrong('must be a number, "NaN", "Infinity" or "-Infinity"')
    return float(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _Wrong("must be a base64 string")
    try:
        text = value.encode("ascii").translate(_BASE64_URL).rstrip(b"=")
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:  # of which UnicodeEncodeError and binascii.Error are kinds
        raise _Wrong("must be a base64 string") from None


def _id_reader(size: int, *, lenient: bool) -> Callable[[Any], bytes]:
    """`lenient`: what is not hexadecimal is handed on for the row encoder to reject, as only that item's own id may."""

    def read_id(value: Any) -> bytes:
        if not isinstance(value, str):
            raise _Wrong(f"must be a string of {2 * size} hexadecimal digits")
        try:
            return binascii.unhexlify(value)
        except ValueError:
            if _is_base64_of(value, size):
                raise _Wrong(f"must be {2 * size} hexadecimal digits, not base64") from None
            if not lenient:
                raise _Wrong(f"must be {2 * size} hexadecimal digits") from None
            return INVALID_ID

    return read_id


def _is_base64_of(value: str, size: int) -> bool:
    try:
        return len(_bytes(value)) == size
    except _Wrong:
        return False
