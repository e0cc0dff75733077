"""Points in time as a person at a terminal says them: `2h`, `30d`, or a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ares_otel.model.errors import StartError
from ares_otel.pipeline.duration import parse_duration
from ares_otel.query.instant import Instant

_DAYS = re.compile(r"(\d{1,5})d", re.ASCII)


def moment(text: str, option: str) -> datetime:
    """The time that a duration is ago, or the RFC 3339 time itself.

    Args:
        option: the option it was given for, for the error.

    Raises:
        StartError: it is neither.
    """
    days = _DAYS.fullmatch(text)
    if days:
        return datetime.now(UTC) - timedelta(days=int(days[1]))
    try:
        seconds = parse_duration(text)
        assert isinstance(seconds, float)
        return datetime.now(UTC) - timedelta(seconds=seconds)
    except ValueError:
        pass
    try:
        return Instant.parse(text).time
    except ValueError:
        raise StartError(
            f"{option} takes a duration such as 90m, 12h or 30d, or a time such as 2026-01-31T12:00:00Z."
        ) from None
