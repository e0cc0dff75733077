"""What `ares-otel traces` is asked for, as the search understands it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Attribute, Call, Expression, Field, Scalar
from ares_otel.query.search.query import TraceQuery, Wanted

_SIGNS = {"=": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=~": "regex"}
_FORM = re.compile(r"([^=!<>~]+?)\s*(=~|!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_KEY = re.compile(r"[^=!<>~]+")


@dataclass(frozen=True, slots=True)
class Asked:
    """One `--attr`."""

    key: str
    op: str
    """Of the search's expressions; `exists` where only the key was given."""
    value: str = ""


def parse_attribute(text: str) -> Asked:
    """Reads KEY=VALUE, KEY!=VALUE, KEY>VALUE (>=, <, <=), KEY=~PATTERN or KEY.

    Raises:
        ValueError: it is none of these. The message is a sentence without a subject.
    """
    match = _FORM.fullmatch(text)
    if match is not None and match[1].strip():
        return Asked(match[1].strip(), _SIGNS[match[2]], match[3])
    if _KEY.fullmatch(text) and text.strip():
        return Asked(text.strip(), "exists")
    raise ValueError("must be KEY=VALUE, KEY!=VALUE, KEY>VALUE (or >=, <, <=), KEY=~PATTERN, or a KEY that is there")


def make_query(
    *,
    service: str | None,
    operation: str | None,
    attributes: Sequence[Asked],
    error: bool,
    min_ns: int | None,
    max_ns: int | None,
    start: Instant | None,
    end: Instant | None,
    limit: int,
) -> TraceQuery:
    """The search for traces with a span for which all of this holds.

    Plain KEY=VALUE are looked for as Jaeger looks for tags: the text also matches a number or boolean that is written
    so. With any other form everything becomes one expression, in which the value is read as each type that it may be.
    """
    if all(one.op == "eq" for one in attributes):
        wanted = [Wanted(one.key, one.value, loose=True) for one in attributes]
        if error:
            wanted.append(Wanted("error", True))
        return TraceQuery(
            service, operation, None, tuple(wanted), ("span", "resource"), start, end, min_ns, max_ns, limit
        )
    parts: list[Expression] = [_part(one) for one in attributes]
    if service is not None:
        parts.append(_field("resource", "service", "eq", service))
    if operation is not None:
        parts.append(_field("span", "name", "eq", operation))
    if error:
        parts.append(_field("span", "status", "eq", "error"))
    if min_ns is not None:
        parts.append(_field("span", "duration", "gte", f"{min_ns}ns"))
    if max_ns is not None:
        parts.append(_field("span", "duration", "lte", f"{max_ns}ns"))
    whole = parts[0] if len(parts) == 1 else Call("and", tuple(parts))
    assert isinstance(whole, Call)
    return TraceQuery(start=start, end=end, limit=limit, filter=whole)


def _part(asked: Asked) -> Call:
    reference = Attribute(asked.key)
    return Call(asked.op, (reference,) if asked.op == "exists" else (reference, Scalar(asked.value)))


def _field(level: str, name: str, op: str, value: str) -> Call:
    return Call(op, (Field(name, level), Scalar(value)))
