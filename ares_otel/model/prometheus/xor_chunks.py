"""Chunks of samples as Prometheus stores and sends them: Gorilla's XOR encoding, 120 samples a chunk.

Source: Prometheus, `tsdb/docs/format/chunks.md`; T. Pelkonen et al., Gorilla, VLDB 2015. A chunk is the number of its
samples in two bytes, then bits:

* the first sample: its time as a varint (zigzag), the 64 bits of its value
* the second one: the difference of the times as an unsigned varint, then its value against the one before
* all others: how that difference changed, in 1, 16, 20, 24 or 68 bits, then the value against the one before

A value against the one before is their XOR: one bit where it is zero; else only the bits that count, in the window of
bits that was written last where they fit into it (2 bits more), or in a new window (13 bits more).

Everything is computed for all samples of many chunks at once. Only which window is the last one depends on the samples
before; that goes through the chunks side by side, 120 steps in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 120
"""Of a full chunk, as Prometheus cuts them."""
_HEADER_BITS = 16
_MAX_LEADING = 31
"""Leading zeros are told in five bits."""
_NO_WINDOW = 255
_MANTISSA_BITS = 52
_EXPONENT_OFFSET = 1023
_ONE = np.uint64(1)
_SEVEN_BITS = np.uint64(0x7F)
_MORE = np.uint64(0x80)
_BYTES_IN_WORD = 8
_VARINT_BYTES = 10
_DODS = ((14, 2, 0b10), (17, 3, 0b110), (20, 4, 0b1110))
"""Widths of a changed difference, and the prefix that tells it: its bits, its value."""

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class XorChunks:
    """Chunks of several series; those of series i are numbers `of_series[i]` to `of_series[i + 1]`."""

    of_series: I64
    data: bytes
    starts: I64
    """Where each begins in `data`."""
    ends: I64
    min_times: I64
    """Milliseconds since 1970."""
    max_times: I64


def xor_chunks(offsets: I64, timestamps: I64, values: NDArray[np.float64]) -> XorChunks:
    """Samples of several series as chunks.

    Args:
        offsets: those of series i stand at `offsets[i]:offsets[i + 1]`, by time; they follow each other without gaps.
        timestamps: milliseconds since 1970.
    """
    begin, end = int(offsets[0]), int(offsets[-1])
    times = timestamps[begin:end]
    bits = np.ascontiguousarray(values[begin:end]).view(np.uint64)
    firsts, lengths, of_series = _cut(offsets - begin)
    if not len(times):
        nothing = np.zeros(0, np.int64)
        return XorChunks(of_series, b"", nothing, nothing, nothing, nothing)
    chunk = np.repeat(np.arange(len(firsts)), lengths)
    place = np.arange(len(times)) - firsts[chunk]
    fields, widths = _fields(times, bits, chunk, place)
    sizes = _HEADER_BITS + np.add.reduceat(widths.sum(axis=1), firsts)
    words = (sizes + 63) >> 6
    bases = np.zeros(len(words) + 1, np.int64)
    np.cumsum(words, out=bases[1:])
    data = _packed(fields, widths, firsts, lengths, bases)
    starts = bases[:-1] * _BYTES_IN_WORD
    return XorChunks(of_series, data, starts, starts + ((sizes + 7) >> 3), times[firsts], times[firsts + lengths - 1])


def _cut(offsets: I64) -> tuple[I64, I64, I64]:
    """Where each chunk begins, how many samples it has, and the first chunk of each series (and one more)."""
    counts = np.diff(offsets)
    chunks = (counts + SAMPLES - 1) // SAMPLES
    of_series = np.zeros(len(chunks) + 1, np.int64)
    np.cumsum(chunks, out=of_series[1:])
    within = np.arange(of_series[-1]) - np.repeat(of_series[:-1], chunks)
    firsts = np.repeat(offsets[:-1], chunks) + within * SAMPLES
    lengths = np.minimum(SAMPLES, np.repeat(offsets[1:], chunks) - firsts)
    return firsts, lengths, of_series


def _fields(times: I64, bits: U64, chunk: I64, place: I64) -> tuple[U64, I64]:
    """Four fields for each sample, of which some have no bits: two of its time, two of its value."""
    fields = np.zeros((len(times), 4), np.uint64)
    widths = np.zeros((len(times), 4), np.int64)
    _write_times(times, place, fields, widths)
    _write_values(bits, chunk, place, fields, widths)
    return fields, widths


def _write_times(times: I64, place: I64, fields: U64, widths: I64) -> None:
    deltas = np.zeros(len(times), np.int64)
    np.subtract(times[1:], times[:-1], out=deltas[1:])  # wraps around, as it does in Prometheus
    changes = np.zeros(len(times), np.int64)
    np.subtract(deltas[1:], deltas[:-1], out=changes[1:])
    unsigned = changes.view(np.uint64)
    widest = changes != 0
    fields[:, 0] = np.where(widest, 0b1111, 0)
    widths[:, 0] = np.where(widest, 4, 1)
    fields[:, 1] = unsigned
    for width, prefix_width, prefix in reversed(_DODS):
        half = 1 << (width - 1)
        fits = widest & (changes > -half) & (changes <= half)
        mask, head = np.uint64((1 << width) - 1), np.uint64(prefix << width)
        fields[:, 0] = np.where(fits, head | (unsigned & mask), fields[:, 0])
        widths[:, 0] = np.where(fits, prefix_width + width, widths[:, 0])
    widths[:, 1] = np.where(widest & (widths[:, 0] == 4), 64, 0)
    first, second = np.flatnonzero(place == 0), np.flatnonzero(place == 1)
    zigzag = (times[first] << 1) ^ (times[first] >> 63)
    for where, numbers in ((first, zigzag.view(np.uint64)), (second, deltas[second].view(np.uint64))):
        fields[where, 0], widths[where, 0], fields[where, 1], widths[where, 1] = _varints(numbers)


def _varints(numbers: U64) -> tuple[U64, I64, U64, I64]:
    """Each as the bits of its first eight bytes and those of the rest, with their widths."""
    sizes = np.ones(len(numbers), np.int64)
    for size in range(1, _VARINT_BYTES):
        sizes += numbers >= np.uint64(1 << (7 * size))
    parts = [np.zeros(len(numbers), np.uint64), np.zeros(len(numbers), np.uint64)]
    for i in range(_VARINT_BYTES):
        part = i // _BYTES_IN_WORD
        byte = (numbers >> np.uint64(7 * i)) & _SEVEN_BITS
        byte |= np.where(sizes > i + 1, _MORE, np.uint64(0))
        parts[part] = np.where(sizes > i, (parts[part] << np.uint64(8)) | byte, parts[part])
    in_word = np.minimum(sizes, _BYTES_IN_WORD)
    return parts[0], in_word * 8, parts[1], (sizes - in_word) * 8


def _write_values(bits: U64, chunk: I64, place: I64, fields: U64, widths: I64) -> None:
    xors = np.zeros(len(bits), np.uint64)
    np.bitwise_xor(bits[1:], bits[:-1], out=xors[1:])
    first = place == 0
    differs = (xors != 0) & ~first
    some = np.where(differs, xors, _ONE)
    leading = np.minimum(63 - _highest_bit(some & ~(some >> _ONE)), _MAX_LEADING)
    trailing = _highest_bit(some & (~some + _ONE))
    window_leading, window_trailing, is_new = _windows(leading, trailing, differs, chunk, place)
    significant = 64 - window_leading - window_trailing
    fresh = (0b11 << 11) | (window_leading << 6) | (significant & 63)
    fields[:, 2] = np.where(differs, np.where(is_new, fresh, 0b10), 0)
    widths[:, 2] = np.where(first, 0, np.where(differs, np.where(is_new, 13, 2), 1))
    fields[:, 3] = np.where(first, bits, xors >> window_trailing.astype(np.uint64))
    widths[:, 3] = np.where(first, 64, np.where(differs, significant, 0))


def _highest_bit(numbers: U64) -> I64:
    """The place of the highest bit; the one below it must not be set, or rounding to a double could carry."""
    exponents: I64 = (numbers.astype(np.float64).view(np.int64) >> _MANTISSA_BITS) - _EXPONENT_OFFSET
    return exponents


def _windows(
    leading: I64, trailing: I64, differs: NDArray[np.bool_], chunk: I64, place: I64
) -> tuple[I64, I64, NDArray[np.bool_]]:
    """The window that each sample's bits are written in, as zeros before and behind it, and whether it is a new one."""
    shape = (int(place.max()) + 1, int(chunk[-1]) + 1)
    at = (place, chunk)
    before, behind = np.full(shape, _NO_WINDOW, np.uint8), np.full(shape, _NO_WINDOW, np.uint8)
    before[at] = np.where(differs, leading, _NO_WINDOW)
    behind[at] = np.where(differs, trailing, _NO_WINDOW)
    news = np.zeros(shape, np.bool_)
    last_before = np.full(shape[1], _NO_WINDOW, np.uint8)
    last_behind = np.full(shape[1], _NO_WINDOW, np.uint8)
    for step in range(1, shape[0]):
        # A sample that does not differ has 255 zeros at both ends: it fits into any window.
        new = (before[step] < last_before) | (behind[step] < last_behind)
        news[step] = new
        np.copyto(last_before, before[step], where=new)
        np.copyto(last_behind, behind[step], where=new)
        before[step], behind[step] = last_before, last_behind
    is_new = news[at]
    return (
        np.where(differs, before[at], 0).astype(np.int64),
        np.where(differs, behind[at], 0).astype(np.int64),
        is_new,
    )


def _packed(fields: U64, widths: I64, firsts: I64, lengths: I64, bases: I64) -> bytes:
    """The bits of all fields one after the other, each chunk from the next full word on, its header first."""
    flat = widths.ravel()
    ends = np.cumsum(flat)
    per_sample = fields.shape[1]
    chunk_bits = np.zeros(len(firsts) + 1, np.int64)
    chunk_bits[:-1] = np.concatenate(([0], ends))[firsts * per_sample]
    shifts = bases[:-1] * 64 + _HEADER_BITS - chunk_bits[:-1]
    used = np.flatnonzero(flat)
    field = fields.ravel()[used]
    width = flat[used]
    at = ends[used] - width + np.repeat(shifts, lengths * per_sample)[used]
    word = at >> 6
    beyond = (at & 63) + width - 64
    """Bits that are in the word behind; below zero, bits that stay free in this one."""
    high = np.where(
        beyond <= 0,
        field << np.maximum(-beyond, 0).astype(np.uint64),
        field >> np.maximum(beyond, 0).astype(np.uint64),
    )
    words = np.zeros(int(bases[-1]), np.uint64)
    starts = np.flatnonzero(np.concatenate(([True], word[1:] != word[:-1])))
    words[word[starts]] = np.bitwise_or.reduceat(high, starts)
    over = np.flatnonzero(beyond > 0)
    words[word[over] + 1] |= field[over] << (64 - beyond[over]).astype(np.uint64)
    words[bases[:-1]] |= lengths.astype(np.uint64) << np.uint64(64 - _HEADER_BITS)
    return words.astype(">u8").tobytes()
