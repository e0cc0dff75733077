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


def length_at(body: bytes, at: int) -> tuple[int, int]:
    """The length that begins at a place, and the place behind it: for who only counts fields, and leaves it to the
    parser to refuse what is cut short or has more than five bytes."""
    size = shift = 0
    while at < len(body) and shift < 35:
        byte = body[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return size, at
