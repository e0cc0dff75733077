"""Messages of PostgreSQL's frontend/backend protocol 3.0, as far as one transaction of the writer needs them.

Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

_INT32 = struct.Struct("!i")
_INT64 = struct.Struct("!q")
_ARRAY = struct.Struct("!iiIii")
"""Dimensions, whether there are NULLs, type of the elements, their number, index of the first."""

BYTEA, INT8, INT4, TEXT, TIMESTAMPTZ = 17, 20, 23, 25, 1184
"""Object ids of the types, as in `pg_type`."""

COPY_DONE = b"c\x00\x00\x00\x04"
SYNC = b"S\x00\x00\x00\x04"


def query(text: str) -> bytes:
    """A simple query; without parameters."""
    return _message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    """Prepares a statement under a name; the server finds out the types of its parameters."""
    return _message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def execute(name: str, parameters: Sequence[bytes]) -> bytes:
    """Binds parameters in binary form to a prepared statement and executes it; rows come in binary form."""
    parts = [b"\0", name.encode(), b"\0\0\x01\0\x01", struct.pack("!H", len(parameters))]
    for parameter in parameters:
        parts += (_INT32.pack(len(parameter)), parameter)
    parts.append(b"\0\x01\0\x01")
    return _message(b"B", b"".join(parts)) + b"E\0\0\0\x09\0\0\0\0\0" + SYNC


def copy_data(size: int) -> bytes:
    """What stands before so many bytes of COPY data."""
    return b"d" + _INT32.pack(size + 4)


def array(kind: int, values: Sequence[bytes]) -> bytes:
    """A one-dimensional array of values in binary form, none of them NULL."""
    parts = [_ARRAY.pack(1, 0, kind, len(values), 1)]
    for value in values:
        parts += (_INT32.pack(len(value)), value)
    return b"".join(parts)


def int4s(values: Sequence[int]) -> bytes:
    return array(INT4, [_INT32.pack(value) for value in values])


def int8s(values: Sequence[int], kind: int = INT8) -> bytes:
    """`bigint[]`, or an array of another type whose binary form is one."""
    return array(kind, [_INT64.pack(value) for value in values])


def texts(values: Sequence[str]) -> bytes:
    return array(TEXT, [value.encode() for value in values])


def fields(row: bytes) -> Iterator[bytes | None]:
    """The values of a DataRow's body; None for NULL."""
    at = 2
    for _ in range(int.from_bytes(row[:2], "big")):
        (size,) = _INT32.unpack_from(row, at)
        at += 4
        if size < 0:
            yield None
        else:
            yield row[at : at + size]
            at += size


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse's body, by their letter."""
    found = {}
    for part in body.split(b"\0"):
        if part:
            found[chr(part[0])] = part[1:].decode(errors="replace")
    return found


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _INT32.pack(len(body) + 4) + body
