"""Where the next page of spans starts: spans have no row number, so their ids stand in the cursor."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ares_otel.query.instant import from_micros, to_micros

_LAYOUT = struct.Struct(
    ">cqHq16s"
)  # list, start time (µs), nanoseconds, window start (µs), trace id; the span id follows
_LIST = b"s"
_NO_START = -(2**63)
_SPAN_ID = 16
"""Bytes of a span id that count; OTLP has 8."""
_LEAST, _MOST = _LAYOUT.size + 4, _LAYOUT.size + _SPAN_ID + 4
_START_OF_TIME = (UUID(int=0), b"")


@dataclass(frozen=True, slots=True)
class SpanCursor:
    """The last span of a page, or the time down to which a search came; the next page goes on below."""

    time: datetime
    ns: int
    trace_id: UUID
    span_id: bytes
    since: datetime | None = None
    """Start of the window of the first page, where it was relative to now: later pages keep it."""

    @classmethod
    def before(cls, time: datetime, since: datetime | None) -> SpanCursor:
        """Everything before this time is still to be looked at."""
        return cls(time, 0, *_START_OF_TIME, since)

    def encode(self) -> str:
        """base64url without padding, with a checksum against cut and mangled copies."""
        since = _NO_START if self.since is None else to_micros(self.since)
        data = _LAYOUT.pack(_LIST, to_micros(self.time), self.ns, since, self.trace_id.bytes) + self.span_id[:_SPAN_ID]
        return base64.urlsafe_b64encode(data + zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> SpanCursor:
        """Reads what `encode` gave.

        Raises:
            ValueError: it is nothing that `encode` gave.
        """
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
            data, check = raw[:-4], raw[-4:]
            if not _LEAST <= len(raw) <= _MOST or zlib.crc32(data).to_bytes(4, "big") != check:
                raise ValueError
            kind, micros, ns, since, trace_id = _LAYOUT.unpack(data[: _LAYOUT.size])
            if kind != _LIST or ns > 999:
                raise ValueError
            cursor = cls(
                from_micros(micros),
                ns,
                UUID(bytes=trace_id),
                data[_LAYOUT.size :],
                None if since == _NO_START else from_micros(since),
            )
            if cursor.encode() != text:
                raise ValueError
            return cursor
        except (ValueError, binascii.Error, struct.error, OverflowError):
            raise ValueError("must be the `next` of an earlier page of this list, unchanged") from None
