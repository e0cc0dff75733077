"""Whether a query can be served: asked before the database is, and by doors that want to know at once."""

from __future__ import annotations

from typing import Any

from ares_otel.query.search.check import MAX_KEY, MAX_TEXT, checked
from ares_otel.query.search.constants import INT_MAX, INT_MIN
from ares_otel.query.search.expression import LEVELS, Refused
from ares_otel.query.search.plan import predicate_of
from ares_otel.query.search.predicate import Predicate
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.search.subjects import MAX_ORDERS, orders_of
from ares_otel.storage.rows.spans import KINDS

MAX_LIMIT = 10_000
"""Traces of one search."""
MAX_ATTRIBUTES = 50
"""Attributes of one search."""
MAX_MADE = 2_000
"""Values inside arrays and objects that are searched for, times the orders of their keys: each is made several times."""
MAX_VALUE_DEPTH = 32
"""Arrays and objects inside each other in a value that is searched for."""


def validate(query: TraceQuery) -> None:
    """Raises Refused for what cannot be served; the database is not asked."""
    planned(query)


def planned(query: TraceQuery) -> Predicate:
    """What is looked for, but for the times and the limit.

    Raises:
        Refused: it cannot be served.
    """
    if not 1 <= query.limit <= MAX_LIMIT:
        raise Refused(f"limit: it must be 1 to {MAX_LIMIT}, not {query.limit}.")
    try:
        if query.filter is not None:
            _alone(query)
            return checked(query.filter)
        _fields(query)
        return predicate_of(query)
    except UnicodeEncodeError:
        raise Refused("A text has unpaired surrogates; send valid Unicode.") from None


def _alone(query: TraceQuery) -> None:
    """A filter stands alone, but for the times and the limit."""
    default = TraceQuery()
    for name in ("service", "operation", "kind", "attributes", "min_ns", "max_ns"):
        if getattr(query, name) != getattr(default, name):
            raise Refused(f"filter: it excludes {name}; say the same in the filter.")


def _fields(query: TraceQuery) -> None:
    if query.kind is not None and query.kind not in KINDS:
        raise Refused(f"kind: it is one of {', '.join(KINDS)}, not {query.kind[:100]!r}.")
    for name, bound in (("min_ns", query.min_ns), ("max_ns", query.max_ns)):
        if bound is not None and not INT_MIN <= bound <= INT_MAX:
            raise Refused(f"{name}: it must fit into 64 bits.")
    if len(query.attributes) > MAX_ATTRIBUTES:
        raise Refused(f"attributes: {MAX_ATTRIBUTES} may be given at most, not {len(query.attributes)}.")
    if query.attributes and (not query.levels or not set(query.levels) <= set(LEVELS)):
        raise Refused(f"levels: give some of {', '.join(LEVELS)}.")
    size = sum(map(_text, (query.service, query.operation)))
    made = 0
    for wanted in query.attributes:
        if not wanted.key:
            raise Refused("attributes: a key is empty; name the attribute.")
        if len(wanted.key) > MAX_KEY:
            raise Refused(f"attributes: a key may have {MAX_KEY} characters at most.")
        _number(wanted.key, wanted.value)
        size += _text(wanted.key) + _text(wanted.value)
        if isinstance(wanted.value, (list, dict)):
            orders = orders_of(wanted.value)
            made += orders * _values(wanted.value)
            if orders > MAX_ORDERS or made > MAX_MADE:
                raise Refused(
                    f"attributes: arrays and objects may have keys in {MAX_ORDERS} orders at most, and {MAX_MADE} "
                    "values over all these orders; search for less of them."
                )
    if size > MAX_TEXT:
        raise Refused(f"attributes: keys and values may have {MAX_TEXT} bytes together.")


def _number(key: str, value: Any) -> None:
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise Refused(f"attributes: the number of {key[:100]!r} must fit into 64 bits.")


def _values(value: Any) -> int:
    """How many values are in it, with itself."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_values, inside))


def _text(value: Any, depth: int = 0) -> int:
    """How long the texts in it are together. Raises UnicodeEncodeError for one that is not Unicode."""
    if depth > MAX_VALUE_DEPTH:
        raise Refused(f"attributes: a value may be {MAX_VALUE_DEPTH} arrays or objects deep at most.")
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_text(key) + _text(item, depth + 1) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return sum(_text(item, depth + 1) + 1 for item in value)
    return 0
