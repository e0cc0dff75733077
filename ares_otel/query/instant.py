"""Points in time to the nanosecond: what a timestamptz column and its `_ns` companion hold together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+\- ])(\d\d):(\d\d))", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """A point in time: `time` in UTC to the microsecond, and 0 to 999 nanoseconds beyond it."""

    time: datetime
    ns: int = 0

    @classmethod
    def parse(cls, text: str) -> Instant:
        """Reads an RFC 3339 time with an offset and at most nine fractional digits.

        A space where the offset's sign belongs is taken as `+`: that is what an unescaped `+` becomes in a URL.

        Raises:
            ValueError: it is none. The message is a sentence without a subject, to be put after the field's name.
        """
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError("must be an RFC 3339 time with an offset, for example 2026-01-31T12:00:00Z")
        fraction = (match[7] or "").ljust(9, "0")
        zone: timezone = UTC
        try:
            if not match[8]:
                hours, minutes = int(match[10]), int(match[11])
                if hours > 23 or minutes > 59:
                    raise ValueError
                offset = timedelta(hours=hours, minutes=minutes)
                zone = timezone(-offset if match[9] == "-" else offset)
            numbers = [int(match[n]) for n in range(1, 7)]
            local = datetime(*numbers, int(fraction[:6]), tzinfo=zone)  # type: ignore[arg-type,misc]
            return cls(local.astimezone(UTC), int(fraction[6:]))
        except (ValueError, OverflowError):
            raise ValueError("must be a time that exists, for example 2026-01-31T12:00:00Z") from None

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Instant:
        """From nanoseconds since 1970. Raises OverflowError outside of the years 1 to 9999."""
        micros, rest = divmod(nanoseconds, 1000)
        return cls(_EPOCH + timedelta(microseconds=micros), rest)

    def minus_hours(self, hours: float) -> Instant:
        """The point so many hours before. Raises OverflowError before the year 1."""
        return Instant(self.time - timedelta(hours=hours), self.ns)


def to_micros(time: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The other way round. Raises OverflowError outside of the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=micros)
