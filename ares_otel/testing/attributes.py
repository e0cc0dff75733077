"""Attributes: what is expected of them against what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ares_otel.testing.failing import did_you_mean
from ares_otel.testing.shown import padded, shown_name, shown_value

_ROWS = 30
_MISSING = object()


def wanted(attributes: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of what was given as a mapping (for keys with dots) and as keyword arguments."""
    return {**(attributes or {}), **more}


def holds(expected: object, actual: object) -> bool:
    """Whether a value is what is expected of it.

    A pattern (`re.compile`) is searched for in a text; lists and tuples are the same; true is not 1 and 1 is not true
    (OTLP's AnyValue keeps them apart). Everything else is compared by `==`, so `pytest.approx` and `mock.ANY` work.
    """
    if isinstance(expected, re.Pattern):
        return (
            isinstance(actual, str | bytes) and type(expected.pattern) is type(actual) and bool(expected.search(actual))
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        # Only where both are plain values: an object with an == of its own may accept either.
        if type(expected) in (bool, int, float) and type(expected) is not type(actual):
            return False
        return bool(expected == actual)
    if _is_list(expected) and _is_list(actual):
        assert isinstance(expected, Sequence)
        assert isinstance(actual, Sequence)
        return len(expected) == len(actual) and all(map(holds, expected, actual))
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return expected.keys() == actual.keys() and all(holds(expected[key], actual[key]) for key in expected)
    return bool(expected == actual)


def has_all(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Whether each expected attribute is there with its value; others may be there too."""
    return all(key in actual and holds(value, actual[key]) for key, value in expected.items())


def difference(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """What is expected and what is there, side by side, with the rows that differ marked; then what else is there."""
    rows = [("", "", "expected", "there")]
    for key, value in islice(expected.items(), _ROWS):
        found = actual.get(key, _MISSING)
        right = found is not _MISSING and holds(value, found)
        rows.append((" " if right else "✗", shown_name(key), shown_value(value), _there(key, value, found, actual)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join((*(padded(row[column], widths[column]) for column in range(3)), row[3])) for row in rows]
    if len(expected) > _ROWS:
        lines.append(f"… and {len(expected) - _ROWS} more")
    others = [key for key in actual if key not in expected]
    if others:
        lines.append(
            "also there: " + ", ".join(shown_name(key) for key in others[:_ROWS]) + "…" * (len(others) > _ROWS)
        )
    return lines


def _there(key: str, value: object, found: object, actual: Mapping[str, Any]) -> str:
    if found is _MISSING:
        return f"(missing{did_you_mean(key, actual).rstrip()})"
    text = shown_value(found)
    if not holds(value, found) and type(value) is not type(found) and _plain(value) and _plain(found):
        text += f"  ({type(found).__name__}, not {type(value).__name__})"
    return text


def _plain(value: object) -> bool:
    return isinstance(value, str | bytes | bool | int | float)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
