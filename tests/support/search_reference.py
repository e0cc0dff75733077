"""What a search means, over OTLP messages: slow, plain, and written apart from the code that makes SQL of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import re2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.query.search.expression import Attribute, Call, Expression, Field, Scalar
from ares_otel.storage.rows.spans import KINDS, STATUSES

STRING, INT, DOUBLE, BOOL, OPAQUE, UNTYPED = "string", "int", "double", "bool", "opaque", ""


@dataclass(frozen=True)
class Value:
    """A value, and what it is; a constant may be of no type."""

    kind: str
    value: Any = None
    strict: bool = False
    """A typed constant: only values of the very type compare with it."""


@dataclass(frozen=True)
class Seen:
    """One span with what is around it, and the element that each enclosing `some` looks at."""

    resource: Resource
    scope: InstrumentationScope
    span: Span
    schemas: tuple[str, str] = ("", "")
    event: Span.Event | None = None
    link: Span.Link | None = None


def holds(call: Call, seen: Seen) -> bool:
    """Whether a filter holds for a span."""
    args = call.args
    match call.op:
        case "and":
            return all(holds(arg, seen) for arg in args)  # type: ignore[arg-type]
        case "or":
            return any(holds(arg, seen) for arg in args)  # type: ignore[arg-type]
        case "not":
            return not holds(args[0], seen)  # type: ignore[arg-type]
        case "exists":
            return bool(values_of(args[0], seen))
        case "some":
            return any(holds(args[1], one) for one in _elements(args[0].level, seen))  # type: ignore[arg-type,union-attr]
        case "regex":
            pattern = re2.compile(args[1].value)  # type: ignore[union-attr]
            return any(v.kind == STRING and pattern.search(v.value) for v in values_of(args[0], seen))
        case "in" | "not_in":
            left = values_of(args[0], seen)
            among = [c for one in args[1].values for c in constants(one, args[1].type, args[0])]  # type: ignore[union-attr]
            found = _any(left, among, lambda a, b: a == b)
            return found if call.op == "in" else bool(left) and not found
    left, right = (values_of(arg, seen, beside=other) for arg, other in (args, args[::-1]))
    if call.op == "ne":
        return bool(left) and bool(right) and not _any(left, right, lambda a, b: a == b)
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "eq": lambda a, b: a == b,
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
    }
    return _any(left, right, tests[call.op], ordered=call.op != "eq")


def _any(
    left: Sequence[Value], right: Sequence[Value], test: Callable[[Any, Any], bool], *, ordered: bool = False
) -> bool:
    for a in left:
        for b in right:
            pair = _pair(a, b)
            if pair is not None and not (ordered and isinstance(pair[0], bool)) and test(*pair):
                return True
    return False


def _pair(a: Value, b: Value) -> tuple[Any, Any] | None:
    """The two as Python values that compare, if they do."""
    if OPAQUE in (a.kind, b.kind):
        return None
    if a.kind == UNTYPED or b.kind == UNTYPED:
        if a.kind == UNTYPED:
            swapped = _pair(b, a)
            return None if swapped is None else swapped[::-1]
        read = _read(b.value, a.kind)
        if read is None:
            return None
        b = read
    numbers = (INT, DOUBLE)
    if a.kind != b.kind and ((a.strict or b.strict) or not (a.kind in numbers and b.kind in numbers)):
        return None
    x, y = a.value, b.value
    if any(isinstance(one, float) and math.isnan(one) for one in (x, y)):
        return None
    if a.kind == STRING:
        return _shown(x).encode(), _shown(y).encode()
    return x, y


def _read(text: str, kind: str) -> Value | None:
    if kind == STRING:
        return Value(STRING, text)
    if kind == BOOL:
        known = {"1": True, "t": True, "T": True, "true": True, "TRUE": True, "True": True}
        known |= {"0": False, "f": False, "F": False, "false": False, "FALSE": False, "False": False}
        return Value(BOOL, known[text]) if text in known else None
    try:
        number = int(text) if text.strip() == text and "_" not in text else None
    except ValueError:
        number = None
    if kind == INT and number is not None and -(2**63) <= number < 2**63:
        return Value(INT, number)
    try:
        double = float(text) if text.strip() == text and "_" not in text else None
    except ValueError:
        double = None
    if double is None or (math.isinf(double) and "inf" not in text.lower()):
        return None
    return Value(DOUBLE, double)


def values_of(reference: Expression, seen: Seen, *, beside: Expression | None = None) -> list[Value]:
    """Everything that a reference or a constant stands for."""
    if isinstance(reference, Scalar):
        return constants(reference.value, reference.type, beside)
    if isinstance(reference, Attribute):
        levels = (reference.level,) if reference.level else ("span", "resource")
        return [value for level in levels for value in _attribute(reference.key, level, seen)]
    assert isinstance(reference, Field)
    return list(_field(reference.name, reference.level, seen))


def constants(text: str, type_: str, beside: Expression | None) -> list[Value]:
    """A constant, as what stands beside it makes of it."""
    if isinstance(beside, Field):
        if beside.name in ("duration", "timeSinceStart", "startTime", "endTime", "time", "flags"):
            return [Value(INT, int(text))]
        return [Value(STRING, text.lower() if beside.name in ("kind", "status") else text)]
    if not type_:
        return [Value(UNTYPED, text)]
    if type_ == STRING:
        return [Value(STRING, text)]
    read = _read(text, type_)
    assert read is not None
    return [Value(type_, float(read.value) if type_ == DOUBLE else read.value, strict=True)]


def _attribute(key: str, level: str, seen: Seen) -> Iterator[Value]:
    lists: dict[str, Iterable[Any]] = {
        "span": [seen.span.attributes],
        "resource": [seen.resource.attributes],
        "scope": [seen.scope.attributes],
        "event": [event.attributes for event in _events(seen)],
        "link": [link.attributes for link in _links(seen)],
    }
    for pairs in lists[level]:
        found = [pair for pair in pairs if _shown(pair.key) == _shown(key)]
        if found:
            yield _value(found[-1])


def _value(pair: KeyValue) -> Value:
    kind = pair.value.WhichOneof("value")
    kinds = {"string_value": STRING, "int_value": INT, "double_value": DOUBLE, "bool_value": BOOL}
    if kind not in kinds:
        return Value(OPAQUE)
    value = getattr(pair.value, kind)
    return Value(kinds[kind], _shown(value) if kind == "string_value" else value)


def _shown(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _events(seen: Seen) -> Iterable[Span.Event]:
    return seen.span.events if seen.event is None else [seen.event]


def _links(seen: Seen) -> Iterable[Span.Link]:
    return seen.span.links if seen.link is None else [seen.link]


def _elements(level: str, seen: Seen) -> Iterator[Seen]:
    for event in seen.span.events if level == "event" else ():
        yield Seen(seen.resource, seen.scope, seen.span, seen.schemas, event, seen.link)
    for link in seen.span.links if level == "link" else ():
        yield Seen(seen.resource, seen.scope, seen.span, seen.schemas, seen.event, link)


def _field(name: str, level: str, seen: Seen) -> Iterator[Value]:
    span = seen.span
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    service = [pair.value.string_value for pair in seen.resource.attributes if pair.key == "service.name"]
    given: dict[tuple[str, str], list[Any]] = {
        ("span", "traceID"): [span.trace_id.hex()],
        ("span", "spanID"): [span.span_id.hex()],
        ("span", "parentSpanID"): [span.parent_span_id.hex()],
        ("span", "traceState"): [span.trace_state],
        ("span", "name"): [_Always(span.name)],
        ("span", "kind"): [KINDS[span.kind]],
        ("span", "startTime"): [start],
        ("span", "endTime"): [end],
        ("span", "duration"): [max(0, end - start)],
        ("span", "status"): [STATUSES[span.status.code]],
        ("span", "statusMessage"): [span.status.message],
        ("span", "flags"): [span.flags],
        ("resource", "service"): [service[-1] if service and service[-1] else "unknown_service"],
        ("resource", "schemaURL"): [seen.schemas[0]],
        ("scope", "name"): [seen.scope.name],
        ("scope", "version"): [seen.scope.version],
        ("scope", "schemaURL"): [seen.schemas[1]],
        ("event", "name"): [_Always(event.name) for event in _events(seen)],
        ("event", "time"): [event.time_unix_nano for event in _events(seen)],
        ("event", "timeSinceStart"): [event.time_unix_nano - start for event in _events(seen)],
        ("link", "traceID"): [link.trace_id.hex() for link in _links(seen)],
        ("link", "spanID"): [link.span_id.hex() for link in _links(seen)],
        ("link", "traceState"): [link.trace_state for link in _links(seen)],
    }
    for value in given[level, name]:
        if isinstance(value, int):
            yield Value(INT, value)
        elif value or isinstance(value, _Always):
            yield Value(STRING, _shown(str(value)))


class _Always(str):
    """A text that is there even when it is empty."""


def same(value: Any, stored: AnyValue) -> bool:
    """Whether an attribute has exactly a wanted value."""
    kind = stored.WhichOneof("value")
    if isinstance(value, bool):
        return kind == "bool_value" and stored.bool_value == value
    if isinstance(value, int):
        return kind == "int_value" and stored.int_value == value
    if isinstance(value, float):
        if kind != "double_value":
            return False
        return stored.double_value == value or (math.isnan(value) and math.isnan(stored.double_value))
    if isinstance(value, str):
        return kind == "string_value" and _shown(stored.string_value) == _shown(value)
    if isinstance(value, bytes):
        return kind == "bytes_value" and stored.bytes_value == value
    if isinstance(value, list):
        items = stored.array_value.values
        return kind == "array_value" and len(items) == len(value) and all(map(_same_inside, value, items))
    pairs = {pair.key: pair.value for pair in stored.kvlist_value.values}
    return (
        kind == "kvlist_value" and pairs.keys() == value.keys() and all(_same_inside(value[k], pairs[k]) for k in pairs)
    )


def _same_inside(value: Any, stored: AnyValue) -> bool:
    """Inside of arrays and objects doubles are compared to the bit."""
    if isinstance(value, float) and stored.WhichOneof("value") == "double_value":
        return struct.pack("<d", value) == struct.pack("<d", stored.double_value)
    return same(value, stored)
