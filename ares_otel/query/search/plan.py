"""A query becomes a predicate: its fields, or its filter."""

from __future__ import annotations

from ares_otel.query.search.constants import Constant
from ares_otel.query.search.expression import LEVELS
from ares_otel.query.search.fields import FIELDS, Holds, SpanField
from ares_otel.query.search.predicate import All, Any_, AttributeAt, Equal, Has, Not, Ordered, Predicate
from ares_otel.query.search.query import TraceQuery, Value, Wanted

_STATUS, _KIND = FIELDS["span", "status"], FIELDS["span", "kind"]
_PSEUDO: dict[str, SpanField] = {
    "span.kind": _KIND,
    "span.status": _STATUS,
    "otel.status_code": _STATUS,
    "otel.status_description": FIELDS["span", "statusMessage"],
    "w3c.tracestate": FIELDS["span", "traceState"],
    "otel.scope.name": FIELDS["scope", "name"],
    "otel.scope.version": FIELDS["scope", "version"],
    "otel.library.name": FIELDS["scope", "name"],
    "otel.library.version": FIELDS["scope", "version"],
    "scope.name": FIELDS["scope", "name"],
    "scope.version": FIELDS["scope", "version"],
}
"""Tags that Jaeger shows for what is a field in OTLP."""
_RESOURCE_PREFIX = "resource."
"""With it Jaeger's own stores mean an attribute of the resource."""


def predicate_of(query: TraceQuery) -> Predicate:
    """What the fields of a query ask for, without a filter, a time range and a limit. Raises Refused."""
    parts: list[Predicate] = []
    if query.service is not None:
        parts.append(_is(FIELDS["resource", "service"], query.service[:255]))
    if query.operation is not None:
        parts.append(_is(FIELDS["span", "name"], query.operation))
    if query.kind is not None:
        parts.append(_is(_KIND, query.kind))
    for bound, operator in ((query.min_ns, ">="), (query.max_ns, "<=")):
        if bound is not None:
            parts.append(Ordered(FIELDS["span", "duration"], operator, Constant(integer=bound)))
    parts += [_wanted(wanted, query.levels) for wanted in query.attributes]
    return All(tuple(parts))


def _wanted(wanted: Wanted, levels: tuple[str, ...]) -> Predicate:
    key, value = wanted.key, wanted.value
    has = _has(key, value, levels, wanted)
    ways: list[Predicate] = [has]
    if "span" in levels:
        if key == "error" and (flag := _flag(value)) is not None:
            if flag:
                return Any_((has, _is(_STATUS, "error")))
            true = Any_(tuple(_has(key, one, levels, wanted) for one in (True, "true")))
            return Any_((has, All((Not(_is(_STATUS, "error")), Not(true)))))
        if key in _PSEUDO and isinstance(value, str) and value:
            field = _PSEUDO[key]
            ways.append(_is(field, value.lower() if field.holds in (Holds.STATUS, Holds.KIND) else value))
    if "resource" in levels and key.startswith(_RESOURCE_PREFIX) and len(key) > len(_RESOURCE_PREFIX):
        ways.append(_has(key.removeprefix(_RESOURCE_PREFIX), value, ("resource",), wanted))
    return ways[0] if len(ways) == 1 else Any_(tuple(ways))


def _has(key: str, value: Value, levels: tuple[str, ...], wanted: Wanted) -> Has:
    return Has(AttributeAt(key, tuple(level for level in LEVELS if level in levels)), value, wanted.loose)


def _is(field: SpanField, text: str) -> Predicate:
    return Equal(field, (Constant(text=text),))


def _flag(value: Value) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None
