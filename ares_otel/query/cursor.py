"""Where the next page of a list starts: opaque to the caller, a position in the order of rows for us."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime

from ares_otel.query.instant import from_micros, to_micros

_LAYOUT = struct.Struct(">cqHqq")  # list, timestamp (µs), nanoseconds, row id, window start (µs)
_NO_START = -(2**63)
_ENCODED = -(-(_LAYOUT.size + 4) * 8 // 6)  # characters, without padding
_LISTS = {"logs": b"l", "metrics": b"m", "registry": b"r", "config": b"c", "rejected": b"x", "pinned": b"p"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page; the next page starts behind it."""

    of: str
    """The list it belongs to: `logs`, `metrics`, `rejected`, `pinned` (where only the time counts), or `registry`,
    `config` (where only `id` counts)."""
    time: datetime
    ns: int
    id: int
    since: datetime | None = None
    """Start of the window of the first page, where it was relative to now: later pages keep it."""

    def encode(self) -> str:
        """base64url without padding, with a checksum against cut and mangled copies."""
        since = _NO_START if self.since is None else to_micros(self.since)
        data = _LAYOUT.pack(_LISTS[self.of], to_micros(self.time), self.ns, self.id, since)
        return base64.urlsafe_b64encode(data + zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, of: str) -> Cursor:
        """Reads what `encode` gave for the same list.

        Raises:
            ValueError: it is nothing that `encode` gave for this list.
        """
        try:
            if len(text) != _ENCODED:
                raise ValueError
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-_ENCODED % 4), b"-_", validate=True)
            data, check = raw[:-4], raw[-4:]
            if zlib.crc32(data).to_bytes(4, "big") != check:
                raise ValueError
            kind, micros, ns, row, since = _LAYOUT.unpack(data)
            if kind != _LISTS[of] or ns > 999:
                raise ValueError
            start = None if since == _NO_START else from_micros(since)
            return cls(of, from_micros(micros), ns, row, start)
        except (ValueError, binascii.Error, struct.error, OverflowError):
            raise ValueError("must be the `next` of an earlier page of this list, unchanged") from None
