"""Snappy's block format, as remote write and remote read have it: inflated within a bound, written piece by piece.

Source: google/snappy, `format_description.txt` and `framing_format.txt`. A block is the length of its content as a
varint, then elements; an element refers back to content of its own block only by how far it is away. So what was
compressed in pieces is one block as soon as one length stands in front of all their elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cramjam

from ares_otel.model.varint import varint

MAX_LENGTH = 2**32 - 1
"""Content of a block."""
_LENGTH_BYTES = 5
_EXPANSION = 32
"""Content for each byte of elements, at most: a copy of three bytes makes 64, so 22 are never reached."""
_STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
"""With what the framing format begins."""
_STREAM_HEADER = 10
_BLOCK_HEADER = 4
_FRAME_BLOCK = 65536
"""Content of a block in the framed format, whose checksum is the CRC that `crc32c` wants."""
_MASK_DELTA = 0xA282EAD8
_ALL_ONES = 0xFFFFFFFF
_CASTAGNOLI = 0x82F63B78
"""The polynomial, its lowest bit first."""


class NotSnappy(ValueError):
    """Bytes that are no block of snappy."""


class TooLarge(ValueError):
    """A block whose content is larger than it may be."""


def content_length(block: bytes, limit: int) -> int:
    """How long the content of a block is, as the block says and as it can be. Nothing is allocated for it.

    Raises:
        NotSnappy: it is no block, or a block of its size cannot hold so much.
        TooLarge: it is more than `limit` bytes.
    """
    if block.startswith(_STREAM_IDENTIFIER):
        raise NotSnappy("it is in snappy's framing format")
    length, behind = _length(block)
    if length > limit:
        raise TooLarge(f"{length} bytes")
    if length > _EXPANSION * (len(block) - behind):
        raise NotSnappy(f"{len(block)} bytes cannot hold the {length} that it tells")
    return length


def inflate(block: bytes, limit: int) -> bytes:
    """The content of a block, of at most `limit` bytes: its length is looked at before anything is allocated.

    Raises:
        NotSnappy, TooLarge: as their texts say.
    """
    length = content_length(block, limit)
    try:
        content = bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise NotSnappy(str(error)) from None
    if len(content) != length:
        raise NotSnappy("its content does not have the length that it tells")
    return content


def deflate_pieces(length: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """One block, while its content is still being made; `length` is that of all pieces together.

    Raises:
        ValueError: the pieces do not have that length, or it is more than `MAX_LENGTH`; what came is no whole block.
    """
    if length > MAX_LENGTH:
        raise ValueError(f"{length} bytes are too many for one block")
    yield varint(length)
    for piece in pieces:
        length -= len(piece)
        if piece:
            deflated = bytes(cramjam.snappy.compress_raw(piece))
            yield deflated[_length(deflated)[1] :]
    if length:
        raise ValueError(f"{length} bytes of the block are missing")


def crc32c(data: bytes) -> int:
    """The CRC with Castagnoli's polynomial.

    Python has none of its own. Snappy's framed format has it for every 64 KiB, computed by the library as it
    compresses; those of several blocks are joined here.
    """
    total = 0
    for begin in range(0, len(data), _FRAME_BLOCK):
        block = data[begin : begin + _FRAME_BLOCK]
        framed = memoryview(cramjam.snappy.compress(block))
        masked = int.from_bytes(framed[_STREAM_HEADER + _BLOCK_HEADER :][:4], "little")
        rotated = (masked - _MASK_DELTA) & _ALL_ONES
        crc = (rotated << 15 | rotated >> 17) & _ALL_ONES
        total = _shifted(total, len(block)) ^ crc
    return total


def _shifted(crc: int, length: int) -> int:
    """What a CRC becomes of which `length` zero bytes follow: a step for each bit of the length."""
    power = 0
    while length and crc:
        if length & 1:
            crc = _applied(_OPERATORS[power], crc)
        length >>= 1
        power += 1
    return crc


def _applied(operator: tuple[int, ...], crc: int) -> int:
    """A matrix over bits times a vector of bits."""
    result = 0
    for column in operator:
        if crc & 1:
            result ^= column
        crc >>= 1
    return result


def _operators() -> tuple[tuple[int, ...], ...]:
    """What 1, 2, 4, … 65536 zero bytes do to a CRC."""
    one_bit = (_CASTAGNOLI, *(1 << i for i in range(31)))
    operator = one_bit
    for _ in range(3):
        operator = tuple(_applied(operator, column) for column in operator)
    found = [operator]
    while len(found) < _FRAME_BLOCK.bit_length():
        operator = tuple(_applied(operator, column) for column in operator)
        found.append(operator)
    return tuple(found)


_OPERATORS = _operators()


def _length(block: bytes) -> tuple[int, int]:
    """What a block tells about its length, and where its elements begin.

    Raises NotSnappy.
    """
    length = 0
    for i, byte in enumerate(block[:_LENGTH_BYTES]):
        length |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if length > MAX_LENGTH:
                break
            return length, i + 1
    raise NotSnappy("it does not begin with a length")
