"""What a constant can be read as: texts of a filter become numbers, booleans, durations and instants.

Numbers and booleans are read as Go's `strconv` does, for that is what Jaeger's own stores do with them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeVar

from ares_otel.model.go_duration import parse_go_duration
from ares_otel.query.instant import Instant, to_micros
from ares_otel.query.search.expression import TYPES, Refused

_INT = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,6})?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity)|nan", re.ASCII | re.IGNORECASE)
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_T = TypeVar("_T")
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_EXACT = 2**53
"""From here on doubles are whole numbers, and their shortest text may be another one."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The readings of a constant; a stored value is compared with the reading of its own type, if there is one."""

    text: str | None = None
    integer: int | float | None = None
    """What integers are compared with: a float where the constant is no integer."""
    double: float | None = None
    boolean: bool | None = None


def parse_int(text: str) -> int | None:
    """A signed 64-bit integer, decimal."""
    if not _INT.fullmatch(text):
        return None
    number = int(text)
    return number if INT_MIN <= number <= INT_MAX else None


def parse_float(text: str) -> float | None:
    """A double: decimal, infinite or NaN; None also for what is too large to be one."""
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    if not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    return None if math.isinf(number) else number


def parse_bool(text: str) -> bool | None:
    """A boolean."""
    return True if text in _TRUE else False if text in _FALSE else None


def parse_duration(text: str) -> int | None:
    """Nanoseconds of a duration in Go's form (`1.5s`, `1h30m`), or of a whole number, which is nanoseconds already."""
    if _INT.fullmatch(text):
        return parse_int(text)
    try:
        return parse_go_duration(text)
    except ValueError:
        return None


def parse_instant(text: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time, or of a whole number, which is that already."""
    if _INT.fullmatch(text):
        number = int(text)
        return number if abs(number) < 2**64 else None
    try:
        instant = Instant.parse(text)
    except ValueError:
        return None
    return to_micros(instant.time) * 1000 + instant.ns


def read_constant(text: str, type_: str, at: str) -> Constant:
    """A constant beside an attribute, whose type only storage knows.

    Raises:
        Refused: the type is unknown, or the text is not of that type. `at` names the place.
    """
    if type_ not in TYPES and type_:
        raise Refused(f"{at}: {type_!r} is not a type; use one of {', '.join(TYPES)}, or none for any type.")
    integer, double, boolean = parse_int(text), parse_float(text), parse_bool(text)
    if type_ == "string":
        return Constant(text=text)
    if type_ == "int":
        return Constant(integer=_given(integer, text, "a whole number of 64 bits", at))
    if type_ == "double":
        return Constant(double=_given(double, text, "a number", at))
    if type_ == "bool":
        return Constant(boolean=_given(boolean, text, "true or false", at))
    return Constant(text, double if integer is None else integer, double, boolean)


def _given(value: _T | None, text: str, what: str, at: str) -> _T:
    if value is None:
        raise Refused(f"{at}: {text[:100]!r} must be {what}.")
    return value


def decimal_of(number: int | float) -> str:
    """A number that is not NaN, as text for `numeric`; integers and doubles are ordered as their values are."""
    if isinstance(number, float):
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        if _EXACT <= abs(number) < 2**63:
            return str(int(number))
        return repr(number)
    return str(number)


def comparable(number: int | float | None) -> bool:
    """Whether there is a number that something can be compared with: NaN is none."""
    return number is not None and not (isinstance(number, float) and math.isnan(number))
