"""The binary COPY layout, byte by byte."""

from __future__ import annotations

import struct

import pytest

from ares_otel.storage.rows import copy_format


def test_a_stream_begins_with_the_signature_and_ends_with_minus_one() -> None:
    assert b"PGCOPY\n\xff\r\n\x00" + bytes(8) == copy_format.COPY_HEADER
    assert struct.pack(">h", -1) == copy_format.COPY_TRAILER


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (copy_format.int2(-2), "00000002 fffe"),
        (copy_format.int4(258), "00000004 00000102"),
        (copy_format.int8(-1), "00000008 ffffffffffffffff"),
        (copy_format.float8(1.0), "00000008 3ff0000000000000"),
        (copy_format.boolean(True), "00000001 01"),
        (copy_format.boolean(False), "00000001 00"),
        (copy_format.text("é"), "00000002 c3a9"),
        (copy_format.text(""), "00000000"),
        (copy_format.bytea(b"\x00\x01"), "00000002 0001"),
        (copy_format.uuid(bytes(range(16))), "00000010 000102030405060708090a0b0c0d0e0f"),
        (copy_format.jsonb(b"{}"), "00000003 01 7b7d"),
        (copy_format.timestamptz(946_684_800_000_001), "00000008 0000000000000001"),
        (copy_format.timestamptz(0), f"00000008 {2**64 - 946_684_800_000_000:016x}"),
        (copy_format.int8_array([]), "0000000c 00000000 00000000 00000014"),
        (
            copy_format.int8_array([7]),
            "00000020 00000001 00000000 00000014 00000001 00000001 00000008 0000000000000007",
        ),
        (
            copy_format.float8_array([2.0]),
            "00000020 00000001 00000000 000002bd 00000001 00000001 00000008 4000000000000000",
        ),
        (copy_format.NULL, "ffffffff"),
    ],
)
def test_a_field_is_its_length_and_the_bytes_of_the_type(field: bytes, expected: str) -> None:
    assert field == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("value", "weight", "digits"),
    [
        (0, 0, []),
        (1, 0, [1]),
        (9999, 0, [9999]),
        (10_000, 1, [1]),
        (120_000_003, 2, [1, 2000, 3]),
        (500_000_000, 2, [5]),
        (2**64 - 1, 4, [1844, 6744, 737, 955, 1615]),
    ],
)
def test_a_numeric_has_base_10000_digits_without_trailing_zeros(value: int, weight: int, digits: list[int]) -> None:
    data = struct.pack(f">4h{len(digits)}h", len(digits), weight, 0, 0, *digits)
    assert copy_format.numeric(value) == struct.pack(">i", len(data)) + data


def test_a_run_of_fixed_fields_is_the_same_as_its_fields_one_by_one() -> None:
    packed = copy_format.fixed_fields("qhid")(8, 5, 2, 6, 4, 7, 8, 1.5)
    assert packed == (copy_format.int8(5) + copy_format.int2(6) + copy_format.int4(7) + copy_format.float8(1.5))
