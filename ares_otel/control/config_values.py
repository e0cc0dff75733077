"""What a process holds of one setting, and how its value is read as a type.

A value of the wrong type must not put a default in the place of a setting that worked: an entry keeps, beside the value
as it is, the last good value for each type that the value as it is cannot serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

Check = Callable[[str, str, Any], str | None]
"""`(service, key, value)` → why the value is wrong for a known key, or None when it is good or the key is not known."""


def same_json(one: Any, other: Any) -> bool:
    """Whether jsonb would call them equal: numbers by value (1 is 1.0), true is not 1, order of names is nothing."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same_json(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return Decimal(str(one)) == Decimal(str(other))
    return type(one) is type(other) and bool(one == other)


def as_string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_int(value: Any) -> int | None:
    """JSON has one kind of number: 30.0 is 30. Booleans and text are not numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_float(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


KINDS: dict[str, Callable[[Any], Any]] = {
    "a string": as_string,
    "a whole number": as_int,
    "a number": as_float,
    "true or false": as_bool,
}
"""What a getter wants, in words → the conversion, None where the value is of another type."""


class Entry(NamedTuple):
    """One setting in force. A tuple: a process may hold thousands of them."""

    value: Any
    version: int
    good: dict[str, Any] | None = None
    """Kind → last good value, for the kinds that `value` cannot serve and an earlier value could."""

    def read(self, kind: str) -> tuple[Any, bool]:
        """The value as that kind, and whether it is the one of this version. None: there never was a good one."""
        value = KINDS[kind](self.value)
        if value is not None:
            return value, True
        return (self.good or {}).get(kind), False

    def followed_by(self, value: Any, version: int) -> Entry:
        """The next entry of the same setting."""
        good = {}
        for kind, convert in KINDS.items():
            if convert(value) is None and (last := self.read(kind)[0]) is not None:
                good[kind] = last
        return Entry(value, version, good or None)


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One change of a setting, as a callback gets it. Its representation never shows the values."""

    service: str
    key: str
    old: Any = field(repr=False)
    """Value before; None when the key was new."""
    new: Any = field(repr=False)
    """Value now; None when the key was deleted."""
    version: int
    """The version now in force; of a deleted key the last one it had."""
    by: str = ""
    """Who changed it; empty for a deletion."""
    deleted: bool = False
    created: bool = False
    is_encrypted: bool = False
