"""The bytes of a spool segment, as docs/spool.md describes them. All numbers are big-endian.

Nothing here trusts a length that it reads: each is checked before anything is allocated for it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.spool.record import SpoolRecord

MAGIC = b"ARESPOOL"
VERSION = 1
MARKER_BYTES = 8
MAX_BODY = 1 << 30
"""Bytes of a record after its head. More is never written, and never believed."""
MAX_ITEMS = (1 << 32) - 1
MAX_NAME = (1 << 16) - 1
"""Bytes of receiver, transport and encoding, each."""
KEY_BYTES = 16
_MAX_INT64 = 1 << 63

_HEADER = struct.Struct(">8sBBHQ16sq")
HEADER_BYTES = _HEADER.size + 4
_HEAD = struct.Struct(">8sII16sBBHHHIIIqq")
HEAD_BYTES = _HEAD.size + 4

_CODES: dict[Signal, int] = {TRACES: 1, LOGS: 2, METRICS: 3}
_SIGNALS = {code: signal for signal, code in _CODES.items()}


class BadBytes(Exception):
    """These bytes are not what they should be; the message says why."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first bytes of a segment."""

    signal: Signal
    number: int
    spool: UUID
    created_ns: int


@dataclass(frozen=True, slots=True)
class RecordHead:
    """What stands before a record's text and payload, with a checksum of its own."""

    key: bytes
    signal: Signal
    tenant_id: int
    received_ns: int
    items: int
    rejected: int
    texts: tuple[int, int, int, int]
    """Bytes of receiver, transport, encoding and reason."""
    body: int
    """Bytes after the head: the four texts and the payload."""
    checksum: int
    """CRC32 of the body."""

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return HEAD_BYTES + self.body


def marker(spool: UUID) -> bytes:
    """What each record of a spool begins with: 8 bytes that a sender cannot know. So no payload can hold something
    that is taken for a record when a damaged segment is searched."""
    return spool.bytes[-MARKER_BYTES:]


def encode_header(header: SegmentHeader) -> bytes:
    """The header of a segment."""
    data = _HEADER.pack(MAGIC, VERSION, _CODES[header.signal], 0, header.number, header.spool.bytes, header.created_ns)
    return data + zlib.crc32(data).to_bytes(4, "big")


def decode_header(data: bytes) -> SegmentHeader:
    """Raises BadBytes when `data` does not begin with a header of this version."""
    if len(data) < HEADER_BYTES:
        raise BadBytes(f"The header has {len(data)} bytes instead of {HEADER_BYTES}.")
    magic, version, code, _, number, spool, created_ns = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadBytes("The file does not begin as a spool segment does.")
    if zlib.crc32(data[: _HEADER.size]) != int.from_bytes(data[_HEADER.size : HEADER_BYTES], "big"):
        raise BadBytes("The checksum of the header is wrong.")
    if version != VERSION:
        raise UnknownVersion(version)
    if code not in _SIGNALS:
        raise BadBytes(f"The header names signal {code}, which does not exist.")
    return SegmentHeader(_SIGNALS[code], number, UUID(bytes=spool), created_ns)


class UnknownVersion(BadBytes):
    """The segment is whole, but of another version of the format."""

    def __init__(self, version: int) -> None:
        super().__init__(f"The segment has format version {version}; this version of Ares reads version {VERSION}.")


def encode_record(record: SpoolRecord, mark: bytes) -> list[bytes]:
    """The record's bytes in pieces, so that the payload is not copied. Raises what `record_size` raises."""
    texts = [
        text.encode("utf-8", "surrogatepass")
        for text in (record.receiver, record.transport, record.encoding, record.reason)
    ]
    body = record_size(record) - HEAD_BYTES
    checksum = 0
    for piece in (*texts, record.payload):
        checksum = zlib.crc32(piece, checksum)
    receiver, transport, encoding, reason = map(len, texts)
    head = _HEAD.pack(
        mark,
        body,
        checksum,
        record.key,
        _CODES[record.signal],
        0,
        receiver,
        transport,
        encoding,
        reason,
        record.items,
        record.rejected,
        record.tenant_id,
        record.received_ns,
    )
    return [head, zlib.crc32(head).to_bytes(4, "big"), *texts, record.payload]


def record_size(record: SpoolRecord) -> int:
    """Bytes that the record takes in a segment. Raises ValueError for a record that the format cannot hold."""
    names = (record.receiver, record.transport, record.encoding)
    lengths = [len(text.encode("utf-8", "surrogatepass")) for text in (*names, record.reason)]
    body = sum(lengths) + len(record.payload)
    if (
        body > MAX_BODY
        or max(lengths[:3]) > MAX_NAME
        or len(record.key) != KEY_BYTES
        or not 0 <= record.rejected <= MAX_ITEMS
        or not 0 <= record.items <= MAX_ITEMS
        or not -_MAX_INT64 <= record.tenant_id < _MAX_INT64
        or not -_MAX_INT64 <= record.received_ns < _MAX_INT64
    ):
        raise ValueError(f"The spool's format cannot hold this request of {body} bytes; docs/spool.md has its limits.")
    return HEAD_BYTES + body


def decode_head(data: bytes, mark: bytes) -> RecordHead:
    """The head at the beginning of `data`. Raises BadBytes when there is none."""
    if len(data) < HEAD_BYTES:
        raise BadBytes("The head of the record is incomplete.")
    found, body, checksum, key, code, _, *texts, items, rejected, tenant_id, received_ns = _HEAD.unpack_from(data)
    if found != mark:
        raise BadBytes("No record begins here.")
    if zlib.crc32(data[: _HEAD.size]) != int.from_bytes(data[_HEAD.size : HEAD_BYTES], "big"):
        raise BadBytes("The checksum of the record's head is wrong.")
    if body > MAX_BODY or sum(texts) > body or code not in _SIGNALS:
        raise BadBytes("The head of the record is impossible.")
    receiver, transport, encoding, reason = texts
    return RecordHead(
        key=key,
        signal=_SIGNALS[code],
        tenant_id=tenant_id,
        received_ns=received_ns,
        items=items,
        rejected=rejected,
        texts=(receiver, transport, encoding, reason),
        body=body,
        checksum=checksum,
    )


def decode_record(data: bytes, mark: bytes) -> SpoolRecord:
    """The record that `data` is, to its last byte. Raises BadBytes when it is damaged."""
    head = decode_head(data, mark)
    if len(data) != head.size:
        raise BadBytes(f"The record has {len(data)} bytes instead of {head.size}.")
    view = memoryview(data)
    if zlib.crc32(view[HEAD_BYTES:]) != head.checksum:
        raise BadBytes("The checksum of the record is wrong.")
    parts: list[str] = []
    at = HEAD_BYTES
    try:
        for length in head.texts:
            parts.append(str(view[at : at + length], "utf-8", "surrogatepass"))
            at += length
    except UnicodeDecodeError:
        raise BadBytes("A text of the record is not UTF-8.") from None
    receiver, transport, encoding, reason = parts
    return SpoolRecord(
        key=head.key,
        signal=head.signal,
        tenant_id=head.tenant_id,
        received_ns=head.received_ns,
        receiver=receiver,
        transport=transport,
        encoding=encoding,
        items=head.items,
        rejected=head.rejected,
        reason=reason,
        payload=bytes(view[at:]),
    )
