"""Content encodings: whatever was compressed comes out, whatever was not is refused, and nothing is made unbounded."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.model.errors import Overloaded, Rejected, TooLarge
from ares_otel.pipeline.admission import Admission
from ares_otel.receivers.serving.inflate import ENCODINGS, PIECE, inflate, pieces
from ares_otel.receivers.serving.workers import Workers

LIMIT = 1024 * 1024
DATA = st.binary(max_size=300) | st.builds(
    lambda unit, times: unit * times, st.binary(max_size=50), st.integers(0, 9000)
)


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def streamed_zstd(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + stream.flush()


COMPRESSORS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
    ("zstd", streamed_zstd),
    ("zstd", zstandard.ZstdCompressor(level=19).compress),
]
EVERY = pytest.mark.parametrize(("encoding", "compress"), COMPRESSORS)


@EVERY
@settings(max_examples=40)
@given(data=DATA)
def test_what_was_compressed_comes_out_in_bounded_pieces(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes
) -> None:
    made = list(pieces(compress(data), encoding, LIMIT))
    assert b"".join(made) == data
    assert all(len(piece) <= PIECE for piece in made)


@pytest.mark.parametrize(("encoding", "compress"), [COMPRESSORS[0], *COMPRESSORS[4:6]])
@given(first=DATA, second=DATA)
@settings(max_examples=20)
def test_members_and_frames_behind_each_other_are_one_body(
    encoding: str, compress: Callable[[bytes], bytes], first: bytes, second: bytes
) -> None:
    assert b"".join(pieces(compress(first) + compress(second), encoding, LIMIT)) == first + second


@EVERY
@settings(max_examples=40)
@given(data=DATA, cut=st.floats(0, 0.999))
def test_what_is_cut_short_is_refused(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes, cut: float
) -> None:
    whole = compress(data)
    with pytest.raises(Rejected):
        list(pieces(whole[: int(len(whole) * cut)], encoding, LIMIT))


@EVERY
@settings(max_examples=20)
@given(data=DATA, more=st.binary(min_size=1, max_size=20).filter(lambda more: more[:1] not in b"\x1f\x28\x50"))
def test_what_has_something_behind_it_is_refused(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes, more: bytes
) -> None:
    with pytest.raises(Rejected):
        list(pieces(compress(data) + more, encoding, LIMIT))


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=100)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_inflated_or_refused(encoding: str, data: bytes) -> None:
    try:
        list(pieces(data, encoding, LIMIT))
    except Rejected:
        pass


@EVERY
@settings(max_examples=60)
@given(data=DATA, at=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_never_does_more_than_spoil_the_body(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes, at: float, bit: int
) -> None:
    spoiled = bytearray(compress(data))
    spoiled[int(len(spoiled) * at)] ^= 1 << bit
    try:
        list(pieces(bytes(spoiled), encoding, LIMIT))
    except Rejected:
        pass


@EVERY
def test_the_limit_is_exact(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert b"".join(pieces(compress(bytes(LIMIT)), encoding, LIMIT)) == bytes(LIMIT)
    with pytest.raises(TooLarge, match=f"more than {LIMIT} bytes"):
        list(pieces(compress(bytes(LIMIT + 1)), encoding, LIMIT))


def test_a_zstd_window_over_8_mib_is_refused() -> None:
    """RFC 9659."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(Rejected, match="window"):
        list(pieces(stream.compress(b"x") + stream.flush(), "zstd", LIMIT))


def test_skippable_zstd_frames_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    body = skippable + zstandard.compress(b"data") + skippable
    assert b"".join(pieces(body, "zstd", LIMIT)) == b"data"
    with pytest.raises(Rejected):
        list(pieces(body[:-1], "zstd", LIMIT))


@pytest.mark.parametrize(("encoding", "compress"), [COMPRESSORS[0], COMPRESSORS[2], COMPRESSORS[4]])
async def test_a_bomb_costs_no_more_memory_than_the_limit(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    bomb, workers, admission = compress(bytes(64 * LIMIT)), Workers(), Admission(100 * LIMIT)
    tracemalloc.start()
    try:
        with admission.reservation() as reservation, pytest.raises(TooLarge):
            await inflate(bomb, encoding, LIMIT, reservation, workers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        workers.close()
    assert peak < 3 * LIMIT
    assert admission.used_bytes == 0


async def test_every_piece_is_reserved_before_it_is_made() -> None:
    workers, admission = Workers(), Admission(16 * PIECE)
    body = gzip.compress(bytes(5 * PIECE))
    with admission.reservation() as other, admission.reservation() as reservation:
        other.grow(12 * PIECE)
        with pytest.raises(Overloaded):
            await inflate(body, "gzip", LIMIT, reservation, workers)
    with admission.reservation() as reservation:
        assert await inflate(body, "gzip", LIMIT, reservation, workers) == bytes(5 * PIECE)
        assert reservation.held_bytes == 5 * PIECE
    workers.close()
