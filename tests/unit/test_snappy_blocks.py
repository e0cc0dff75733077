"""Snappy's blocks: what may be inflated, blocks written in pieces, and the checksum that comes of the framed format."""

from __future__ import annotations

from pathlib import Path

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ares_otel
from ares_otel.model.prometheus.snappy_blocks import (
    MAX_LENGTH,
    NotSnappy,
    TooLarge,
    content_length,
    crc32c,
    deflate_pieces,
    inflate,
)
from ares_otel.model.varint import varint
from tests.support.chunks import castagnoli

PIECES = st.lists(st.binary(max_size=300) | st.integers(1, 5).map(lambda n: b"repeated " * n * 30), max_size=8)


@given(PIECES)
def test_a_block_that_was_written_in_pieces_is_one_block(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    block = b"".join(deflate_pieces(len(whole), pieces))
    assert bytes(cramjam.snappy.decompress_raw(block)) == whole if whole else block == b"\0"
    assert inflate(block, len(whole)) == whole


def test_large_pieces_are_one_block_too() -> None:
    pieces = [bytes(range(256)) * 300, b"", b"x" * 200_000]
    whole = b"".join(pieces)
    assert bytes(cramjam.snappy.decompress_raw(b"".join(deflate_pieces(len(whole), pieces)))) == whole


@pytest.mark.parametrize("length", [3, 5])
def test_pieces_of_another_length_than_was_told_are_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="missing"):
        list(deflate_pieces(length, [b"four"]))


def test_a_length_that_does_not_fit_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match="too many"):
        next(deflate_pieces(MAX_LENGTH + 1, []))


def test_a_block_that_claims_gigabytes_is_refused_by_its_length() -> None:
    with pytest.raises(TooLarge, match="4294967295"):
        inflate(b"\xff\xff\xff\xff\x0f" + b"\0" * 5, 1000)


def test_a_block_that_tells_more_than_its_bytes_can_hold_is_refused_by_its_length() -> None:
    with pytest.raises(NotSnappy, match="cannot hold the 1048576"):
        content_length(b"\x80\x80\x40" + b"\0" * 40, 2**20)


def test_the_densest_block_is_inflated() -> None:
    block = bytes(cramjam.snappy.compress_raw(b"a" * 2**20))
    assert content_length(block, 2**20) == 2**20
    assert inflate(block, 2**20) == b"a" * 2**20


def test_the_framing_format_is_named() -> None:
    with pytest.raises(NotSnappy, match="framing format"):
        inflate(bytes(cramjam.snappy.compress(b"framed")), 1000)


def test_nothing_else_knows_the_library_that_inflates() -> None:
    package = Path(ares_otel.__file__).parent
    others = [path for path in package.rglob("*.py") if path.name != "snappy_blocks.py"]
    assert [path.name for path in others if "cramjam" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    "block",
    [b"", b"\xff" * 5, b"\xff" * 4, b"\x05", b"\x05abc", b"\xff\xff\xff\xff\x7f", b"\x03\xfc\xff\xff\xff\xff", b"\0a"],
)
def test_what_is_no_block_is_said_to_be_none(block: bytes) -> None:
    with pytest.raises((NotSnappy, TooLarge)):
        inflate(block, 1000)


@given(st.binary(max_size=200))
def test_any_bytes_are_inflated_or_refused(block: bytes) -> None:
    try:
        assert len(inflate(block, 5000)) <= 5000
    except (NotSnappy, TooLarge):
        pass


@given(
    st.binary(max_size=100).flatmap(lambda data: st.tuples(st.just(data), st.integers(0, 200), st.binary(max_size=3)))
)
def test_a_damaged_block_is_inflated_or_refused(case: tuple[bytes, int, bytes]) -> None:
    data, at, damage = case
    block = bytes(cramjam.snappy.compress_raw(data * 3))
    block = block[:at] + damage + block[at + len(damage) :]
    try:
        inflate(block, 5000)
    except (NotSnappy, TooLarge):
        pass


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


@given(st.binary(max_size=100))
def test_the_checksum_is_that_of_the_definition(data: bytes) -> None:
    assert crc32c(data) == castagnoli(data)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 131072, 150_000])
def test_the_checksum_is_right_beyond_the_blocks_that_it_comes_from(size: int) -> None:
    data = (b"\0\xff" + bytes(range(7, 107))) * (size // 102 + 1)
    assert crc32c(data[:size]) == castagnoli(data[:size])


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_that_of_protobuf(number: int) -> None:
    read = sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(varint(number)))
    assert read == number
    assert [byte >> 7 for byte in varint(number)][-1] == 0
