"""A predicate over one span, as a tree: what `jaeger.expression.v1` says, without its protobuf.

A `Call` is an operator with arguments; references name what is looked at, `Scalar` and `Values` what it is compared
with. Nothing here is checked: `validate` in `query.py` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

LEVELS = ("span", "resource", "scope", "event", "link")
"""Where a reference looks; '' is the span or its resource."""
OPERATORS = ("and", "or", "not", "eq", "ne", "gt", "lt", "gte", "lte", "regex", "exists", "in", "not_in", "some")
TYPES = ("string", "int", "double", "bool")
"""What a value must be; '' is any of them."""


class Refused(ValueError):
    """A search that cannot be served. The message is a sentence that says where the trouble is and what to do."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute by its key."""

    key: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """What every span, resource, scope, event or link has: a name, a duration, …"""

    name: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Nested:
    """The events or links of a span, one after the other."""

    level: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value, as text."""

    value: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """Several values of one type."""

    values: tuple[str, ...]
    type: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """An operator and its arguments."""

    op: str
    args: tuple[Expression, ...]


Expression: TypeAlias = Union[Attribute, Field, Nested, Scalar, Values, Call]  # noqa: UP007 # Call is not known yet
