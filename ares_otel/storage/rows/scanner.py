"""What the native encoder knows of a body before it encodes it."""

from __future__ import annotations

from ares_otel.model.scan import BodyScanner, BodySize, decoded_bytes
from ares_otel.model.signal import Signal
from ares_otel.storage.rows import _native
from ares_otel.storage.rows.native_result import NUMBERS


class NativeScanner(BodyScanner):
    """Walks the outer messages in C."""

    def scan(self, signal: Signal, body: bytes, limit: int) -> BodySize | None:
        items = _native.scan(NUMBERS[signal], body, limit)
        if items < 0:
            return None
        return BodySize(items, decoded_bytes(len(body), _native.empty_messages(body)))
