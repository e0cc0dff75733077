"""Points in time and durations between protobuf's messages and the query."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ares_otel.query.instant import Instant, to_micros
from ares_otel.query.search.expression import Refused

_GO_ZERO = -62_135_596_800
"""Seconds of January 1 of the year 1: what a Go program has in a time that nobody set, and sends."""
_MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
_MAX_NANOS = 999_999_999
_SECOND = 10**9


def instant_of(message: Message, field: str, prefix: str = "") -> Instant | None:
    """The point in time in a field of a message; None for one that was not set.

    Raises:
        Refused: it is no time between the years 1 and 9999. `prefix` stands before the field's name.
    """
    value = getattr(message, field)
    seconds, nanos = value.seconds, value.nanos
    if not message.HasField(field) or (seconds, nanos) == (_GO_ZERO, 0):
        return None
    if not _GO_ZERO <= seconds <= _MAX_SECONDS or not 0 <= nanos <= _MAX_NANOS:
        raise Refused(f"{prefix}{field} is no time between the years 1 and 9999.")
    return Instant.from_ns(seconds * _SECOND + nanos)


def timestamp_of(instant: Instant) -> Timestamp:
    """The other way round."""
    micros = to_micros(instant.time)
    return Timestamp(seconds=micros // 10**6, nanos=micros % 10**6 * 1000 + instant.ns)


def nanoseconds_of(message: Duration, field: str) -> int | None:
    """The duration in nanoseconds; None for zero, which is what clients send where nobody set one.

    Raises:
        Refused: it is negative, or no duration. `field` names it.
    """
    seconds, nanos = message.seconds, message.nanos
    if abs(nanos) > _MAX_NANOS or seconds * nanos < 0 or abs(seconds) > 2**63 // _SECOND:
        raise Refused(f"{field} is no duration of at most 292 years.")
    if seconds < 0 or nanos < 0:
        raise Refused(f"{field} is negative; a span cannot be.")
    return seconds * _SECOND + nanos or None
