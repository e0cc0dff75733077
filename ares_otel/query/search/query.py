"""What a search for traces asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Call, Refused

__all__ = ["Refused", "TraceQuery", "Value", "Wanted"]

Value: TypeAlias = Union[str, bool, int, float, bytes, list[Any], dict[str, Any]]  # noqa: UP007


@dataclass(frozen=True)
class Wanted:
    """An attribute that a span must have."""

    key: str
    value: Value
    """Typed: the text "500" is not the number 500, and 1 is not 1.0. NaN is any NaN."""
    loose: bool = False
    """Whether a text also matches what else is written so (a number, a boolean, bytes in base64, an array or object),
    and a number the equal one of the other type (123 and 123.0)."""


@dataclass(frozen=True)
class TraceQuery:
    """Traces with a span for which everything that is given holds."""

    service: str | None = None
    """Exact `service_name`; None is any service."""
    operation: str | None = None
    """Exact `operation_name`."""
    kind: str | None = None
    """One of `storage.rows.spans.KINDS`."""
    attributes: tuple[Wanted, ...] = ()
    levels: tuple[str, ...] = ("span", "resource")
    """Where `attributes` are looked for: each may be found at any of these."""
    start: Instant | None = None
    """Started at or after."""
    end: Instant | None = None
    """Started before."""
    min_ns: int | None = None
    """At least so long."""
    max_ns: int | None = None
    """At most so long."""
    limit: int = 20
    """So many traces at most."""
    filter: Call | None = None
    """Instead of everything above but the times and the limit."""
