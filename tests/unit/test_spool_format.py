"""The bytes of a segment: what goes in comes out, and nothing else comes out."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.signal import LOGS, SIGNALS, TRACES
from ares_otel.storage.spool.format import (
    HEAD_BYTES,
    HEADER_BYTES,
    BadBytes,
    SegmentHeader,
    UnknownVersion,
    decode_head,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
    marker,
    record_size,
)
from ares_otel.storage.spool.record import SpoolRecord
from tests.support.spool import a_record

GOLDEN = Path(__file__).parents[1] / "support" / "spool_version_1.seg"
SPOOL = UUID("5eed5eed-0000-4000-8000-0123456789ab")
MARK = marker(SPOOL)

_names = st.text(max_size=20)
_int64 = st.integers(-(1 << 63), (1 << 63) - 1)
records = st.builds(
    SpoolRecord,
    key=st.binary(min_size=16, max_size=16),
    signal=st.sampled_from(list(SIGNALS.values())),
    tenant_id=_int64,
    received_ns=_int64,
    receiver=_names,
    transport=_names,
    encoding=_names,
    items=st.integers(0, (1 << 32) - 1),
    rejected=st.integers(0, (1 << 32) - 1),
    reason=st.text(st.characters(), max_size=50),
    payload=st.binary(max_size=500),
)


@given(records)
def test_a_record_comes_back_as_it_went_in(record: SpoolRecord) -> None:
    data = b"".join(encode_record(record, MARK))
    assert len(data) == record_size(record)
    assert decode_record(data, MARK) == record


@given(records, st.data())
def test_a_record_with_one_byte_changed_is_not_believed(record: SpoolRecord, data: st.DataObject) -> None:
    encoded = bytearray(b"".join(encode_record(record, MARK)))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadBytes):
        decode_record(bytes(encoded), MARK)


@given(records, st.data())
def test_a_record_that_is_cut_is_not_believed(record: SpoolRecord, data: st.DataObject) -> None:
    encoded = b"".join(encode_record(record, MARK))
    with pytest.raises(BadBytes):
        decode_record(encoded[: data.draw(st.integers(0, len(encoded) - 1))], MARK)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_record_and_no_header(data: bytes) -> None:
    for decode in (lambda: decode_record(MARK + data, MARK), lambda: decode_header(data)):
        with pytest.raises(BadBytes):
            decode()


@given(st.sampled_from(list(SIGNALS.values())), st.integers(0, (1 << 64) - 1), st.uuids(), _int64)
def test_a_header_comes_back_as_it_went_in(signal: object, number: int, spool: UUID, created_ns: int) -> None:
    header = SegmentHeader(signal, number, spool, created_ns)  # type: ignore[arg-type]
    data = encode_header(header)
    assert len(data) == HEADER_BYTES
    assert decode_header(data) == header


def test_a_record_of_another_spool_is_not_believed() -> None:
    data = b"".join(encode_record(a_record(1), MARK))
    with pytest.raises(BadBytes, match="No record begins here"):
        decode_record(data, marker(UUID(int=7)))


@pytest.mark.parametrize(
    "changed",
    [
        {"key": b"short"},
        {"items": -1},
        {"items": 1 << 32},
        {"rejected": 1 << 32},
        {"tenant_id": 1 << 63},
        {"received_ns": -(1 << 63) - 1},
        {"receiver": "x" * 65_536},
    ],
    ids=str,
)
def test_a_record_that_the_format_cannot_hold_is_an_error(changed: dict[str, object]) -> None:
    record = a_record(1)
    values = {name: getattr(record, name) for name in SpoolRecord.__slots__} | changed
    with pytest.raises(ValueError, match=r"docs/spool\.md"):
        encode_record(SpoolRecord(**values), MARK)


def test_an_unknown_version_is_told_from_damage() -> None:
    import zlib

    data = bytearray(encode_header(SegmentHeader(TRACES, 1, SPOOL, 0)))
    data[8] = 2
    with pytest.raises(BadBytes, match="checksum"):
        decode_header(bytes(data))
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "big")
    with pytest.raises(UnknownVersion, match="format version 2"):
        decode_header(bytes(data))


def test_version_1_is_these_bytes() -> None:
    """The golden file never changes: it is what spools on disks hold. A new version gets a file of its own."""
    records = [
        a_record(1, signal=LOGS),
        a_record(2, signal=LOGS, payload=b""),
        a_record(3, signal=LOGS, payload=bytes(range(256))),
    ]
    header = SegmentHeader(LOGS, 77, SPOOL, 1_700_000_000_123_456_789)
    data = GOLDEN.read_bytes()
    assert data == encode_header(header) + b"".join(b"".join(encode_record(record, MARK)) for record in records)
    assert decode_header(data) == header
    at = HEADER_BYTES
    for record in records:
        size = decode_head(data[at : at + HEAD_BYTES], MARK).size
        assert decode_record(data[at : at + size], MARK) == record
        at += size
    assert at == len(data)
