"""The items of a request counted by the extension, without decoding it."""

from __future__ import annotations

from ares_otel.model.scan import BodyScanner, BodySize
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows import _native

_NUMBERS: dict[Signal, int] = {TRACES: 0, LOGS: 1, METRICS: 2}
_EMPTY_MESSAGE = 100
"""Bytes of memory that an empty message takes once it is decoded, at most."""


class NativeScanner(BodyScanner):
    """Counts as `BodyScanner` says. Messages around the items count as items where there are more than the limit."""

    def scan(self, signal: Signal, body: bytes, limit: int) -> BodySize | None:
        items = _native.scan(_NUMBERS[signal], body, limit)
        if items < 0:
            return None
        return BodySize(items, 3 * len(body) + _EMPTY_MESSAGE * _native.empty_messages(body))
