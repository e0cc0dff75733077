"""What happens when a condition meets data: comparing, calculating, stepping into maps and arrays.

Comparing values of different types, or anything with nil, is false, and true for `!=`; int and float compare as numbers
(pkg/ottl/LANGUAGE.md, "Comparison Rules").
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from ares_otel.processors.conditions.paths import Env, Getter
from ares_otel.processors.regex import Pattern
from ares_otel.processors.values import find, scalar, text_of

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class EvaluationError(Exception):
    """A condition met a value that it cannot be applied to."""


def compare(sign: str, left: Any, right: Any) -> bool:
    """One comparison, by the rules in the head of this module."""
    if left is None or right is None:
        equal = left is None and right is None
        return equal if sign in ("==", "<=", ">=") else not equal if sign == "!=" else False
    numbers = all(isinstance(side, (int, float)) and not isinstance(side, bool) for side in (left, right))
    if numbers or (type(left) is type(right) and isinstance(left, (str, bool, bytes))):
        return COMPARISONS[sign](left, right)
    if isinstance(left, AnyValue) and isinstance(right, AnyValue) and sign in ("==", "!="):
        return COMPARISONS[sign](left, right)
    return sign == "!="


def calculation(first: Getter, rest: list[tuple[str, Getter]]) -> Getter:
    """A chain of `+` and `-`, or of `*` and `/`, from left to right."""

    def calculate(env: Env) -> int | float:
        result = _number(rest[0][0], first(env))
        for sign, getter in rest:
            operand = _number(sign, getter(env))
            result = _ARITHMETIC[sign](result, operand)
        return result

    return calculate


def _number(sign: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EvaluationError(f"{sign} needs numbers, not {_type_name(value)}")
    return value


def _divide(first: int | float, second: int | float) -> int | float:
    """Integers divide as in Go: towards zero."""
    if second == 0:
        raise EvaluationError("a division by zero")
    if isinstance(first, float) or isinstance(second, float):
        return first / second
    quotient = abs(first) // abs(second)
    return quotient if (first < 0) == (second < 0) else -quotient


def indexed(getter: Getter, keys: list[str | int], path: str) -> Getter:
    """Steps into maps and arrays. A key that is not there gives nil; a value that has no keys is an error."""
    for key in keys:
        getter = _step(getter, key, path)
    return getter


def _step(getter: Getter, key: str | int, path: str) -> Getter:
    def get(env: Env) -> Any:
        value = getter(env)
        if value is None:
            return None
        kind = value.WhichOneof("value") if isinstance(value, AnyValue) else None
        if isinstance(key, str) and kind == "kvlist_value":
            return scalar(find(value.kvlist_value.values, key))
        if isinstance(key, int) and kind == "array_value":
            elements = value.array_value.values
            if key >= len(elements):
                raise EvaluationError(f"{path} has {len(elements)} elements, there is no [{key}]")
            return scalar(elements[key])
        raise EvaluationError(f"{path} is {_type_name(value)}, which has no [{key!r}]")

    return get


def _type_name(value: Any) -> str:
    if isinstance(value, AnyValue):
        return "an array" if value.WhichOneof("value") == "array_value" else "a map"
    names = {
        "NoneType": "nil",
        "str": "a text",
        "bool": "a bool",
        "int": "an int",
        "float": "a float",
        "bytes": "bytes",
    }
    return names[type(value).__name__]


def is_match(value: Any, pattern: Pattern) -> bool:
    """`IsMatch`: whether the expression is found in the value's text; nil matches nothing."""
    return value is not None and pattern.matches(text_of(value))


def has_attribute(point: Any, key: str, value: str | None) -> bool:
    """Whether a data point has the attribute, with that text as value when one is given."""
    found = find(point.attributes, key)
    return found is not None and (value is None or scalar(found) == value)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}
