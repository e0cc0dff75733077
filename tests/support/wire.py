"""Protobuf's wire format by hand: for requests that the official classes would not write."""

from __future__ import annotations

import struct

VARINT, FIXED64, BYTES, START, END, FIXED32 = range(6)
_SMALL = [bytes((value,)) for value in range(0x80)]


def varint(value: int, size: int = 0) -> bytes:
    """A varint; with a `size` padded to so many bytes, which protobuf reads and does not write."""
    if 0 <= value < 0x80 and size < 2:
        return _SMALL[value]
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80 or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)


def number(field: int, value: int, size: int = 0) -> bytes:
    """A field of a varint type."""
    return tag(field, VARINT) + varint(value, size)


def data(field: int, *parts: bytes | str, size: int = 0) -> bytes:
    """A field of a string, bytes or message: its parts, one behind the other. `size` pads the length."""
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return tag(field, BYTES) + varint(len(content), size) + content


def fixed64(field: int, value: int) -> bytes:
    return tag(field, FIXED64) + struct.pack("<Q", value)


def double(field: int, value: float) -> bytes:
    return tag(field, FIXED64) + struct.pack("<d", value)


def fixed32(field: int, value: int) -> bytes:
    return tag(field, FIXED32) + struct.pack("<I", value)


def group(field: int, content: bytes = b"") -> bytes:
    """A group, which OTLP does not have."""
    return tag(field, START) + content + tag(field, END)
