"""Content encodings: the one function through which every compressed body goes, bounded before it allocates.

Sources: RFC 1950 (zlib), RFC 1951 (deflate), RFC 1952 (gzip), RFC 8878 (zstd), RFC 9110 §8.4.1, RFC 9659 (zstd window).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator

import zstandard

from ares_otel.model.errors import Rejected, TooLarge
from ares_otel.pipeline.admission import Reservation
from ares_otel.receivers.serving.workers import Workers

PIECE = 128 * 1024
"""Largest piece that is inflated at a time, bytes."""
_INPUT = 256 * 1024
_GZIP_MEMBERS = 1000
_ZSTD_WINDOW = 8 * 1024 * 1024
"""RFC 9659: a zstd content coding must not need a larger window, and a receiver must not offer more memory for it."""


def pieces(data: bytes, encoding: str, limit: int) -> Iterator[bytes]:
    """Inflates `data` in pieces of at most `PIECE` bytes; not one byte over `limit` is handed on.

    Args:
        encoding: one of `ENCODINGS`.
        limit: largest size of the whole, bytes.

    Raises:
        Rejected: the data is not what the encoding says: broken, cut short, wrong checksum, or something behind it.
        TooLarge: more than `limit` bytes would come out.
    """
    total = 0
    for piece in ENCODINGS[encoding](data):
        total += len(piece)
        if total > limit:
            raise TooLarge(f"The body inflates to more than {limit} bytes; send smaller batches.")
        yield piece


async def inflate(data: bytes, encoding: str, limit: int, reservation: Reservation, workers: Workers) -> bytes:
    """The inflated body. Every piece is reserved before it is made, and those of a big body are made in a thread.

    Raises:
        Rejected, TooLarge: as `pieces` does.
        Overloaded: the memory budget has no room for the next piece.
    """
    if encoding in ("gzip", "x-gzip"):  # RFC 1952 §2.3.1: ISIZE; who lies is only refused for it, or not
        reservation.expect(min(limit, int.from_bytes(data[-4:], "little")))
    steps = pieces(data, encoding, limit)
    reservation.grow(PIECE)
    first = await workers.run(len(data), lambda: next(steps, b""))
    if len(first) < PIECE:
        second = await workers.run(len(data), lambda: next(steps, None))
        if second is None:
            return first
        first += second
    async with workers.inflating:
        return await _inflate_rest(bytearray(first), steps, reservation, workers)


async def _inflate_rest(made: bytearray, steps: Iterator[bytes], reservation: Reservation, workers: Workers) -> bytes:
    """The whole body: what is made already, and the rest. It grows in one block, which the system gets back when it is
    freed; many small ones would leave holes between what lives longer."""
    held = PIECE
    while True:
        room = len(made) + PIECE
        if room > held:
            room += room // 8  # what a bytearray takes ahead
            reservation.grow(room - held)
            held = room
        piece = await workers.run(len(made), lambda: next(steps, None))
        if piece is None:
            break
        made += piece
    reservation.grow(len(made))
    body = await workers.run(len(made), lambda: bytes(made))
    reservation.shrink(held)
    return body


class _Input:
    """Compressed bytes, handed to zlib in slices: it copies what it leaves over, every time."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0

    def take(self) -> bytes:
        slice_ = bytes(self._data[self._position : self._position + _INPUT])
        self._position += len(slice_)
        return slice_

    def give_back(self, size: int) -> None:
        self._position -= size

    def rest(self, size: int) -> bytes:
        return bytes(self._data[self._position : self._position + size])


def _gzip(data: bytes) -> Iterator[bytes]:
    """One or more members behind each other, as RFC 1952 §2.2 allows; zlib checks every CRC and length."""
    source = _Input(data)
    for _ in range(_GZIP_MEMBERS):
        yield from _stream(zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), source, "gzip")
        following = source.rest(2)
        if not following:
            return
        if following != b"\x1f\x8b":
            raise Rejected("The gzip body is followed by bytes that do not belong to it.")
    raise Rejected(f"The gzip body has more than {_GZIP_MEMBERS} members.")


def _deflate(data: bytes) -> Iterator[bytes]:
    """`deflate` means a zlib stream, but some senders send the bare deflate data in it, and both are taken. They cannot
    be mixed up: what a zlib header says would be a stored block with padding that no encoder writes."""
    is_zlib = len(data) >= 2 and data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0
    source = _Input(data)
    yield from _stream(zlib.decompressobj(wbits=zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS), source, "deflate")
    if source.rest(1):
        raise Rejected("The deflate body is followed by bytes that do not belong to it.")


def _stream(stream: zlib._Decompress, source: _Input, name: str) -> Iterator[bytes]:
    """Inflates one zlib, deflate or gzip stream and leaves `source` behind its end."""
    slice_ = b""
    while not stream.eof:
        slice_ = slice_ or source.take()
        try:
            piece = stream.decompress(slice_, PIECE)
        except zlib.error as error:
            raise Rejected(f"The body is not valid {name} data.") from error
        if piece:
            yield piece
        elif not slice_ and not stream.eof:
            raise Rejected(f"The {name} body is cut short.")
        slice_ = stream.unconsumed_tail
    source.give_back(len(stream.unused_data))


def _zstd(data: bytes) -> Iterator[bytes]:
    """One or more frames. The library does not say whether the last one is complete, so that is looked up first."""
    if not _zstd_complete(data):
        raise Rejected("The zstd body is cut short, or followed by bytes that do not belong to it.")
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        io.BytesIO(data), read_across_frames=True
    )
    while True:
        try:
            piece = reader.read(PIECE)
        except zstandard.ZstdError as error:
            raise Rejected("The body is not valid zstd data, or needs a window of more than 8 MiB.") from error
        if not piece:
            return
        yield piece


def _zstd_complete(data: bytes) -> bool:
    """Whether `data` is exactly a row of whole frames (RFC 8878 §3.1): walks the block headers, inflates nothing."""
    position, size = 0, len(data)
    while position < size:
        magic = int.from_bytes(data[position : position + 4], "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a skippable frame: its length follows
            position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
            continue
        if magic != 0xFD2FB528 or position + 5 > size:
            return False
        descriptor = data[position + 4]
        single_segment = descriptor >> 5 & 1
        position += 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
        position += (single_segment, 2, 4, 8)[descriptor >> 6]
        last = False
        while not last:
            if position + 3 > size:
                return False
            header = int.from_bytes(data[position : position + 3], "little")
            last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
            position += 3 + (1 if kind == 1 else length)  # 1 is a repeated byte: one byte stands for all
        position += 4 * (descriptor >> 2 & 1)
    return position == size and size > 0


ENCODINGS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}
"""Content codings that are taken, besides none. `x-gzip` is another name of gzip (RFC 9110 §8.4.1.3)."""
