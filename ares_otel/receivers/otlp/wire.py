"""What a protobuf body holds, looked at before it is decoded: two bytes can be an empty message, which takes a hundred
when it is decoded.

Source of the layout: protobuf documentation, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator

from ares_otel.model.errors import TooLarge
from ares_otel.model.scan import decoded_bytes
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

SCAN_BYTES = 64 * 1024
"""A smaller body cannot hold enough items to be worth a look."""

_ITEM_PATHS: dict[Signal, tuple[frozenset[int], ...]] = {
    TRACES: (frozenset({1}), frozenset({2}), frozenset({2})),  # resource_spans, scope_spans, spans
    LOGS: (frozenset({1}), frozenset({2}), frozenset({2})),  # resource_logs, scope_logs, log_records
    # resource_metrics, scope_metrics, metrics, one of the five kinds, data_points
    METRICS: (frozenset({1}), frozenset({2}), frozenset({2}), frozenset({5, 7, 9, 10, 11}), frozenset({1})),
}
"""Field numbers on the way to an item, from opentelemetry-proto; a test compares them with the descriptors."""

_EMPTY = b"\1\0"
_TAG_OR_ZERO = bytes(0 if byte == 0 else 1 if byte & 7 == 2 and 8 <= byte < 128 else 2 for byte in range(256))
"""Translates a body so that `_EMPTY` stands where the tag of a message (or text) with a length of 0 may stand."""


def memory_estimate(body: bytes) -> int:
    """How many bytes of memory the decoded message may take."""
    return decoded_bytes(len(body), body.translate(_TAG_OR_ZERO).count(_EMPTY))


def check_items(body: bytes, signal: Signal, limit: int) -> None:
    """Counts the items of a body without decoding it. A body that is not valid protobuf passes: the decoder says so.

    Raises:
        TooLarge: there are more than `limit`, at any level on the way to them.
    """
    if len(body) < SCAN_BYTES:
        return
    counts = [0] * len(_ITEM_PATHS[signal])
    for level in _walk(body, 0, len(body), _ITEM_PATHS[signal], 0):
        counts[level] += 1
        if counts[level] > limit:
            raise too_many(signal, limit)


def too_many(signal: Signal, limit: int) -> TooLarge:
    """The error for a request with more items than that."""
    return TooLarge(f"The request holds more than {limit:,} {signal.items.replace('_', ' ')}; send smaller batches.")


def _walk(body: bytes, at: int, end: int, path: tuple[frozenset[int], ...], level: int) -> Iterator[int]:
    """The level of each message on the path, in the order of the wire. Ends at the first byte that makes no sense."""
    last = level == len(path) - 1
    wanted = path[level]
    while at < end:
        tag, at = _varint(body, at, end)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(body, at, end)
            if size > end - at:
                return
            if tag >> 3 in wanted:
                yield level
                if size and not last:
                    yield from _walk(body, at, at + size, path, level + 1)
            at += size
        elif kind == 0:
            _, at = _varint(body, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and where the next field begins; beyond the end for one that is cut off or too long."""
    value = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    return 0, end
