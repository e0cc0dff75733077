"""Prometheus's chunks and frames, read as their format is described: bit by bit, and unlike what writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ares_otel.model.prometheus.native_histogram import STALE_NAN, NativeHistogram, ResetHint, is_stale_bits
from ares_otel.model.prometheus.proto.remote_v1_pb2 import ChunkedReadResponse

_WIDTHS = (0, 3, 6, 9, 12, 18, 25, 56, 64)


class Point(NamedTuple):
    """A sample with the bits of its value, for a NaN is not equal to itself."""

    time: int
    bits: int


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, width: int) -> int:
        self.left -= width
        assert self.left >= 0, "the chunk ends too early"
        return (self._number >> self.left) & ((1 << width) - 1)

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(8)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def ones(self, most: int) -> int:
        count = 0
        while count < most and self.take(1):
            count += 1
        return count

    def signed(self, width: int) -> int:
        number = self.take(width)
        if width == 64:
            return _int64(number)
        return number - (1 << width) if number > 1 << (width - 1) else number

    def varbit_signed(self) -> int:
        width = _WIDTHS[self.ones(8)]
        return self.signed(width) if width else 0

    def varbit_unsigned(self) -> int:
        return self.take(_WIDTHS[self.ones(8)])

    def double(self) -> float:
        return _double(self.take(64))


class _Xor:
    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._leading: int | None = None
        self._trailing = 0

    def next(self, source: _Bits) -> int:
        if source.take(1):
            if source.take(1):
                self._leading = source.take(5)
                self._trailing = 64 - self._leading - (source.take(6) or 64)
            assert self._leading is not None, "there is no window yet"
            self.bits ^= source.take(64 - self._leading - self._trailing) << self._trailing
        return self.bits


def _int64(number: int) -> int:
    number &= 2**64 - 1
    return number - 2**64 if number >> 63 else number


def _double(bits: int) -> float:
    value: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    return value


def read_xor_chunk(data: bytes) -> list[Point]:
    """The samples of a chunk of type XOR."""
    source = _Bits(data[2:])
    points: list[Point] = []
    time = delta = 0
    value = _Xor(0)
    for i in range(int.from_bytes(data[:2], "big")):
        if i == 0:
            zigzag = source.varint()
            time = (zigzag >> 1) ^ -(zigzag & 1)
            value = _Xor(source.take(64))
        else:
            if i == 1:
                delta = source.varint()
            else:
                width = (0, 14, 17, 20, 64)[source.ones(4)]
                delta = _int64(delta + (source.signed(width) if width else 0))
            time = _int64(time + delta)
            value.next(source)
        points.append(Point(time, value.bits))
    assert source.left < 8, "something stands behind the last sample"
    return points


def read_histogram_chunk(data: bytes) -> list[tuple[int, NativeHistogram]]:
    """The samples of a chunk of type FLOAT_HISTOGRAM, with the hints that a Prometheus reads out of it."""
    source = _Bits(data[3:])
    threshold_byte = source.take(8)
    threshold = 2.0 ** (threshold_byte - 244) if threshold_byte else 0.0
    if threshold_byte == 255:
        threshold = source.double()
    schema = source.varbit_signed()
    spans = []
    for _ in range(2):
        how_many = source.varbit_unsigned()
        lengths_first = [(source.varbit_unsigned(), source.varbit_signed()) for _ in range(how_many)]
        spans.append(tuple((offset, length) for length, offset in lengths_first))
    custom: list[float] = []
    if schema == -53:
        for _ in range(source.varbit_unsigned()):
            milli = source.varbit_unsigned()
            custom.append((milli - 1) / 1000 if milli else source.double())
    positive, negative = (sum(length for _, length in some) for some in spans)
    values: list[_Xor] = []
    found: list[tuple[int, NativeHistogram]] = []
    time = delta = 0
    header = {0: ResetHint.UNKNOWN, 0b11: ResetHint.GAUGE, 0b10: ResetHint.YES, 0b01: ResetHint.NO}[data[2] >> 6]
    for i in range(int.from_bytes(data[:2], "big")):
        if i == 0:
            time = source.varbit_signed()
            values = [_Xor(source.take(64)) for _ in range(3 + positive + negative)]
        else:
            delta += source.varbit_signed()
            time += delta
            for value in values:
                value.next(source)
        count, zero, total, *buckets = (_double(value.bits) for value in values)
        if is_stale_bits(total):
            found.append((time, NativeHistogram(schema=0, count=0, sum=STALE_NAN)))
            continue
        hint = ResetHint.NO if i and header is not ResetHint.GAUGE else header
        made = NativeHistogram(
            schema=schema,
            count=count,
            sum=total,
            zero_threshold=threshold,
            zero_count=zero,
            positive_spans=spans[0],
            positive_counts=tuple(buckets[:positive]),
            negative_spans=spans[1],
            negative_counts=tuple(buckets[positive:]),
            custom_values=tuple(custom),
            reset_hint=hint,
        )
        found.append((time, made))
    assert source.left < 8, "something stands behind the last sample"
    return found


def castagnoli(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read_frames(data: bytes) -> Iterator[ChunkedReadResponse]:
    """The messages of a streamed answer, whose checksums are right."""
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        crc, message = data[at : at + 4], data[at + 4 : at + 4 + length]
        at += 4 + length
        assert len(message) == length, "the last frame is cut"
        assert int.from_bytes(crc, "big") == castagnoli(message)
        yield ChunkedReadResponse.FromString(message)
