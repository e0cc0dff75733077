"""PostgreSQL's binary COPY format: the one place that knows its byte layout.

A stream is `COPY_HEADER`, any number of tuples, `COPY_TRAILER` (PostgreSQL documentation, "COPY", "Binary Format").
All numbers are big-endian:

    tuple   int16 number of fields, then the fields
    field   int32 length, then that many bytes; length -1 (`NULL`) and no bytes for NULL

and the bytes of a field are what the type's binary receive function takes:

    int2, int4, int8, float8   the number itself, 2, 4, 8, 8 bytes (a NaN keeps its bits)
    bool                       one byte, 0 or 1
    text                       UTF-8, no NUL, no terminator
    bytea, uuid                the bytes; 16 of them for uuid
    jsonb                      version byte 1, then JSON text in UTF-8
    timestamptz                int64, microseconds since 2000-01-01 00:00 UTC
    numeric                    int16 each: number of digits, weight, sign, display scale, then the digits to base 10000
    array of T                 int32 dimensions (0 when empty), int32 "has NULLs" flag, int32 OID of T,
                               then int32 length and int32 lower bound of each dimension, then each element as a field

The functions here return a whole field. Encoders whose rows hold the same run of fixed-size fields again and again take
a `fixed_fields` packer, which packs the run in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from struct import Struct

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(4) + bytes(4)
"""Signature, flags (none), length of the header extension (none)."""
COPY_TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH_US = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970-01-01: what a timestamptz counts from."""
INT4_MIN, INT4_MAX = -(2**31), 2**31 - 1
INT8_MIN, INT8_MAX = -(2**63), 2**63 - 1

_INT8_OID = 20
_INT2_OID = 21
_FLOAT8_OID = 701

length = Struct(">i").pack
"""The length word of a field."""
tuple_head = Struct(">h").pack
"""The head of a tuple: its number of fields."""
jsonb_head = Struct(">iB").pack
"""`jsonb_head(len(text) + 1, 1) + text` is a jsonb field."""

_int2 = Struct(">ih").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_float8 = Struct(">id").pack
_numeric_head = Struct(">ihhhh").pack
_array_head = Struct(">iiiiii").pack


def fixed_fields(codes: str) -> Callable[..., bytes]:
    """A packer for a run of fixed-size fields: `fixed_fields("qh")(8, value, 2, value)`.

    Args:
        codes: struct codes of the values, one a field: h int2, i int4, q int8 or timestamptz, d float8.
    """
    return Struct(">" + "".join("i" + code for code in codes)).pack


def int2(value: int) -> bytes:
    return _int2(2, value)


def int4(value: int) -> bytes:
    return _int4(4, value)


def int8(value: int) -> bytes:
    return _int8(8, value)


def float8(value: float) -> bytes:
    return _float8(8, value)


def boolean(value: bool) -> bytes:
    return b"\x00\x00\x00\x01\x01" if value else b"\x00\x00\x00\x01\x00"


def text(value: str) -> bytes:
    """The value must not hold NUL: PostgreSQL text cannot."""
    data = value.encode()
    return length(len(data)) + data


def bytea(value: bytes) -> bytes:
    return length(len(value)) + value


def uuid(value: bytes) -> bytes:
    """Args: value: 16 bytes."""
    return b"\x00\x00\x00\x10" + value


def jsonb(value: bytes) -> bytes:
    """Args: value: JSON text without `\\u0000`, which jsonb cannot hold."""
    return jsonb_head(len(value) + 1, 1) + value


def timestamptz(unix_us: int) -> bytes:
    """Args: unix_us: microseconds since 1970."""
    return _int8(8, unix_us - EPOCH_US)


def numeric(value: int) -> bytes:
    """A numeric(20, 0), for unsigned 64-bit numbers. Args: value: 0 or more."""
    digits = []
    while value:
        value, digit = divmod(value, 10_000)
        digits.append(digit)
    weight = max(len(digits) - 1, 0)
    while digits and digits[0] == 0:  # trailing zeros of the number are not stored
        digits.pop(0)
    count = len(digits)
    return _numeric_head(8 + 2 * count, count, weight, 0, 0) + Struct(f">{count}h").pack(*reversed(digits))


def _array(oid: int, elements: bytes, count: int) -> bytes:
    if not count:
        return length(12) + Struct(">iii").pack(0, 0, oid)
    return _array_head(20 + len(elements), 1, 0, oid, count, 1) + elements


def int2_array(values: Sequence[int]) -> bytes:
    return _array(_INT2_OID, b"".join(map(_int2, repeat(2), values)), len(values))


def int8_array(values: Sequence[int]) -> bytes:
    return _array(_INT8_OID, b"".join(map(_int8, repeat(8), values)), len(values))


def float8_array(values: Sequence[float]) -> bytes:
    return _array(_FLOAT8_OID, b"".join(map(_float8, repeat(8), values)), len(values))
