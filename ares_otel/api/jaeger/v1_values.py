"""Parameters of Jaeger's HTTP API of version 1. An empty one is as good as none, as Grafana and Jaeger's UI send them;
unknown ones are ignored, as Jaeger does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.datastructures import QueryParams

from ares_otel.api.jaeger.v1_envelope import BadParameter
from ares_otel.model.go_duration import parse_go_duration
from ares_otel.query.instant import Instant, from_micros

MAX_VALUES = 1_000
"""Values of one parameter."""
MAX_TEXT = 8_192
"""Characters of a value."""
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_LAST_MICROS = 253_402_300_799_999_999
"""The end of the year 9999."""
_DAYS = re.compile(r"(\d{1,6})(d|w)", re.ASCII)
_DAYS_OF = {"d": 1, "w": 7}


class Values:
    """The parameters of a request. Every method raises BadParameter for a value that is of the wrong form."""

    def __init__(self, params: QueryParams) -> None:
        self._params = params

    def text(self, name: str) -> str | None:
        """The first value; None where there is none."""
        return next(iter(self.texts(name)), None)

    def texts(self, name: str) -> list[str]:
        """All values that are not empty."""
        found = [value for value in self._params.getlist(name) if value]
        if len(found) > MAX_VALUES:
            raise BadParameter(name, f"may be given {MAX_VALUES:,} times at most")
        for value in found:
            if "\0" in value:
                raise BadParameter(name, "must not hold the character NUL")
            if len(value) > MAX_TEXT:
                raise BadParameter(name, f"must have at most {MAX_TEXT:,} characters")
        return found

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """An integer within bounds."""
        text = self.text(name)
        if text is None:
            return default
        value = int(text) if _INTEGER.fullmatch(text) else None
        if value is None or not low <= value <= high:
            raise BadParameter(name, f"must be an integer from {low:,} to {high:,}")
        return value

    def boolean(self, name: str) -> bool:
        """As Go reads it; false where it is not given."""
        text = self.text(name)
        if text is None or text in _FALSE:
            return False
        if text in _TRUE:
            return True
        raise BadParameter(name, "must be true or false")

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """A number above `low`, at most `high`."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low < value <= high:
            raise BadParameter(name, f"must be a number above {low:g}, at most {high:g}")
        return value

    def micros(self, name: str) -> int | None:
        """A time in microseconds since 1970."""
        text = self.text(name)
        if text is None:
            return None
        value = int(text) if _INTEGER.fullmatch(text) else -1
        if not 0 <= value <= _LAST_MICROS:
            raise BadParameter(name, "must be a time in microseconds since 1970, for example 1700000000000000")
        return value

    def millis(self, name: str, default: datetime) -> datetime:
        """A time in milliseconds since 1970."""
        text = self.text(name)
        if text is None:
            return default
        value = int(text) if _INTEGER.fullmatch(text) else -1
        if not 0 <= value <= _LAST_MICROS // 1000:
            raise BadParameter(name, "must be a time in milliseconds since 1970, for example 1700000000000")
        return from_micros(value * 1000)

    def length(self, name: str, default: timedelta, *, high: timedelta) -> timedelta:
        """A length of time in milliseconds, above 0."""
        text = self.text(name)
        if text is None:
            return default
        value = int(text) if _INTEGER.fullmatch(text) else 0
        if not 0 < value <= high / timedelta(milliseconds=1):
            days = high // timedelta(days=1)
            raise BadParameter(name, f"must be a number of milliseconds above 0, at most {days:,} days")
        return timedelta(milliseconds=value)

    def duration_ns(self, name: str) -> int | None:
        """A duration as Go writes it, not negative."""
        text = self.text(name)
        if text is None:
            return None
        try:
            value = parse_go_duration(text)
        except ValueError as error:
            raise BadParameter(name, str(error)) from None
        if value < 0:
            raise BadParameter(name, "must not be negative")
        return value

    def lookback(self, name: str = "lookback") -> timedelta | None:
        """How far back from the end: a duration as Go writes it, or days and weeks (`2d`, `1w`) as Jaeger's UI has
        them. `custom` there says that start and end were chosen: None, as where it is not given."""
        text = self.text(name)
        if text is None or text == "custom":
            return None
        match = _DAYS.fullmatch(text)
        try:
            if match:
                value = timedelta(days=int(match[1]) * _DAYS_OF[match[2]])
            else:
                value = timedelta(microseconds=parse_go_duration(text) // 1000)
        except (ValueError, OverflowError):
            value = timedelta(0)
        if value <= timedelta(0):
            raise BadParameter(name, "must be a length of time above 0, for example 1h, 2d or custom")
        return value


def instant_of(micros: int | None) -> Instant | None:
    """The point in time so many microseconds after 1970."""
    return None if micros is None else Instant(from_micros(min(micros, _LAST_MICROS)))


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """The value, which must be one of these. Raises BadParameter."""
    if value not in allowed:
        raise BadParameter(name, f"must be one of {', '.join(allowed)}")
    return value
