"""Snappy's block format, in which remote write is compressed.

Source: google/snappy, format_description.txt: the length of the whole stands in front, as a varint of 32 bits.
"""

from __future__ import annotations

import cramjam

from ares_otel.model.errors import Rejected, TooLarge

_FRAMED = b"\xff\x06\x00\x00sNaPpY"
_EXPANSION = 32
"""A copy of three bytes makes at most 64 bytes: what claims more than 22 for one is not true, whatever follows."""
_PREAMBLE_BYTES = 5


def inflated_size(body: bytes, limit: int) -> int:
    """How large the body says it is. Nothing is allocated for it.

    Raises:
        Rejected: it is no snappy block, or cannot be as large as it says.
        TooLarge: it is larger than `limit` bytes.
    """
    if body.startswith(_FRAMED):
        raise Rejected("The body is in snappy's framing format; remote write wants the block format.")
    size = 0
    for place, byte in enumerate(body[:_PREAMBLE_BYTES]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    else:
        raise Rejected("The body is not a snappy block: it does not begin with its length.")
    if size > _EXPANSION * len(body) or size >= 2**32:
        raise Rejected(f"The snappy block of {len(body)} bytes says that it inflates to {size}, which it cannot.")
    if size > limit:
        raise TooLarge(
            f"The body inflates to {size} bytes, more than {limit} (max_request_body_size); send less at once."
        )
    return size


def inflate(body: bytes, size: int) -> bytes:
    """The inflated body of `size` bytes, as `inflated_size` gave it. Raises Rejected."""
    made = bytearray(size)
    try:
        written = cramjam.snappy.decompress_raw_into(body, made)
    except cramjam.DecompressionError as error:
        raise Rejected("The body is not a valid snappy block.") from error
    if written != size:
        raise Rejected("The snappy block is cut short.")
    return bytes(made)
