"""A search that has been checked: references resolved, constants read, the reference on the left.

This is what becomes SQL; the two forms of a query (its fields, its filter) both end here. A leaf is false where what it
looks at is not there; `Not` is plain negation. What asks for presence as well (`ne`, `not_in`) is made of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from ares_otel.query.search.constants import Constant
from ares_otel.query.search.fields import SpanField


@dataclass(frozen=True, slots=True)
class AttributeAt:
    """An attribute of one or several levels."""

    key: str
    levels: tuple[str, ...]


Reference: TypeAlias = Union[AttributeAt, SpanField]  # noqa: UP007


@dataclass(frozen=True, slots=True)
class All:
    """Every one holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    """At least one holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    part: Predicate


@dataclass(frozen=True, slots=True)
class Exists:
    """It is there."""

    reference: Reference


@dataclass(frozen=True, slots=True)
class Equal:
    """It is one of these. Beside a field the constants are texts or integers."""

    reference: Reference
    constants: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """It is before or after a constant. `operator` is SQL's."""

    reference: Reference
    operator: str
    constant: Constant


@dataclass(frozen=True, slots=True)
class Compared:
    """Two references, compared with each other. `operator` is SQL's."""

    left: Reference
    operator: str
    right: Reference


@dataclass(frozen=True, slots=True)
class Matches:
    """A text in which a regular expression is found."""

    reference: Reference
    pattern: str


@dataclass(frozen=True, slots=True)
class Some:
    """One event or link satisfies the predicate."""

    level: str
    part: Predicate


@dataclass(frozen=True, slots=True)
class Has:
    """An attribute has exactly this value, at one of the levels: strings, numbers, bytes, arrays, objects."""

    attribute: AttributeAt
    value: Any
    loose: bool


Predicate: TypeAlias = Union[  # noqa: UP007
    All, Any_, Not, Exists, Equal, Ordered, Compared, Matches, Some, Has
]
