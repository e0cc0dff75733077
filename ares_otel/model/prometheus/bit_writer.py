"""Bits one after the other, and the numbers of Prometheus's histogram chunks in them.

Source: Prometheus, `tsdb/docs/format/chunks.md`.
"""

from __future__ import annotations

import struct

_WIDTHS = (3, 6, 9, 12, 18, 25, 56)
"""Of a number that does not need 64 bits. One more bit of ones stands in front for each width that is too small."""
_MASK = 2**64 - 1
_FLUSH_BITS = 1024
_MAX_LEADING = 31


def double_bits(value: float) -> int:
    """The 64 bits of a double."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value))[0]
    return bits


class BitWriter:
    """Bits, the highest one of each number first."""

    def __init__(self) -> None:
        self._done = bytearray()
        self._rest = 0
        self._width = 0

    def write(self, number: int, width: int) -> None:
        """A number of at least zero that has `width` bits at most."""
        self._rest = self._rest << width | number
        self._width += width
        if self._width >= _FLUSH_BITS:
            over = self._width & 7
            self._done += (self._rest >> over).to_bytes((self._width - over) // 8, "big")
            self._rest &= (1 << over) - 1
            self._width = over

    def bytes(self) -> bytes:
        """All of them; the last byte is filled with zeros."""
        padding = -self._width % 8
        return bytes(self._done) + (self._rest << padding).to_bytes((self._width + padding) // 8, "big")

    def double(self, value: float) -> None:
        """Its 64 bits."""
        self.write(double_bits(value), 64)

    def signed(self, number: int) -> None:
        """An int64; anything else wraps around."""
        number = (number + 2**63 & _MASK) - 2**63
        for i, width in enumerate(_WIDTHS):
            half = 1 << (width - 1)
            if -half < number <= half:
                self._varied(number, i, width, is_zero=not number)
                return
        self._longest(number)

    def unsigned(self, number: int) -> None:
        """A uint64."""
        for i, width in enumerate(_WIDTHS):
            if number < 1 << width:
                self._varied(number, i, width, is_zero=not number)
                return
        self._longest(number)

    def _varied(self, number: int, i: int, width: int, *, is_zero: bool) -> None:
        if is_zero:
            self.write(0, 1)
        else:
            self.write((1 << (i + 2)) - 2, i + 2)
            self.write(number & (1 << width) - 1, width)

    def _longest(self, number: int) -> None:
        self.write(0xFF, 8)
        self.write(number & _MASK, 64)


class XorValue:
    """Doubles of which each is written as what differs from the one before, as in `xor_chunks`."""

    __slots__ = ("_bits", "_leading", "_trailing")

    def __init__(self, first: float) -> None:
        self._bits = double_bits(first)
        self._leading = 64
        """More than there can be: nothing fits before a window was written."""
        self._trailing = 64

    def write(self, value: float, writer: BitWriter) -> None:
        """The next one."""
        bits = double_bits(value)
        xor, self._bits = bits ^ self._bits, bits
        if not xor:
            writer.write(0, 1)
            return
        leading = min(64 - xor.bit_length(), _MAX_LEADING)
        trailing = (xor & -xor).bit_length() - 1
        if leading >= self._leading and trailing >= self._trailing:
            writer.write(0b10, 2)
        else:
            self._leading, self._trailing = leading, trailing
            writer.write(0b11 << 11 | leading << 6 | (64 - leading - trailing) & 63, 13)
        writer.write(xor >> self._trailing, 64 - self._leading - self._trailing)
