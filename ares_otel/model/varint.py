"""Lengths and numbers as protobuf and snappy write them."""

from __future__ import annotations

_SHORT = tuple(bytes((number,)) for number in range(0x80))


def varint(number: int) -> bytes:
    """A number of at least zero, seven bits a byte, the lowest ones first."""
    if number < 0x80:
        return _SHORT[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
