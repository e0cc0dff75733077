"""A filter that somebody sent becomes a predicate, or is refused with the place and the reason.

What operators mean follows RFC 0005 of Jaeger: a leaf about something that is not there is false, and only `not` turns
that; `ne` and `not_in` ask for presence; of several values one is enough for a leaf, and for `ne` and `not_in` none may
match; constants without a type take the type of what they are compared with.
"""

from __future__ import annotations

from ares_otel.query.search.constants import Constant, parse_duration, parse_instant, parse_int, read_constant
from ares_otel.query.search.expression import (
    LEVELS,
    OPERATORS,
    TYPES,
    Attribute,
    Call,
    Expression,
    Field,
    Nested,
    Refused,
    Scalar,
    Values,
)
from ares_otel.query.search.fields import TEXTS, WORDS, Holds, SpanField, field_named
from ares_otel.query.search.pattern import Pattern
from ares_otel.query.search.predicate import (
    All,
    Any_,
    AttributeAt,
    Compared,
    Equal,
    Exists,
    Matches,
    Not,
    Ordered,
    Predicate,
    Reference,
    Some,
)
from ares_otel.storage.rows.spans import KINDS, STATUSES

MAX_DEPTH = 16
"""Calls inside each other."""
MAX_NODES = 256
"""Calls, references and constants of a filter."""
MAX_VALUES = 1000
"""Values of all lists together."""
MAX_PATTERNS = 8
"""Regular expressions: each is matched with what the spans hold."""
MAX_TEXT = 64 * 1024
"""UTF-8 bytes of all keys and constants together."""
MAX_KEY = 1024
"""Characters of a key."""

_COMPARISONS = {"eq": "=", "ne": "<>", "gt": ">", "lt": "<", "gte": ">=", "lte": "<="}
_MIRRORED = {"=": "=", "<>": "<>", ">": "<", "<": ">", ">=": "<=", "<=": ">="}
_COLLECTIONS = ("event", "link")
_DEFAULT_LEVELS = ("span", "resource")


def checked(call: Call) -> Predicate:
    """The predicate of a filter.

    Raises:
        Refused: it cannot be served; the message names the place.
        UnicodeEncodeError: a text has unpaired surrogates.
    """
    return _Check().predicate(call, "filter", 1, ())


class _Check:
    """One pass over a filter, with what was seen so far."""

    def __init__(self) -> None:
        self._nodes = self._values = self._patterns = self._text = 0

    def predicate(self, call: Expression, at: str, depth: int, bound: tuple[str, ...]) -> Predicate:
        """`bound` are the levels whose elements an enclosing `some` goes through."""
        if not isinstance(call, Call):
            raise Refused(f"{at}: {_named(call)} is not a condition; a condition is an operator with arguments.")
        if depth > MAX_DEPTH:
            raise Refused(f"{at}: conditions may be {MAX_DEPTH} deep at most; flatten those that are and or or.")
        self._count()
        op, args = call.op, call.args
        at = f"{at}.{op}" if op in OPERATORS else at
        if op in ("and", "or"):
            if not args:
                raise Refused(f"{at}: {op} needs conditions; give at least one.")
            parts = tuple(self.predicate(arg, f"{at}[{n}]", depth + 1, bound) for n, arg in enumerate(args))
            return All(parts) if op == "and" else Any_(parts)
        if op == "not":
            _arity(op, args, 1, "a condition", at)
            return Not(self.predicate(args[0], f"{at}[0]", depth + 1, bound))
        if op == "some":
            return self._some(args, at, depth, bound)
        if op == "exists":
            _arity(op, args, 1, "an attribute or a field", at)
            return Exists(self._reference(args[0], f"{at}[0]"))
        if op in ("in", "not_in"):
            return self._member(op, args, at)
        if op == "regex":
            return self._regex(args, at)
        if op in _COMPARISONS:
            return self._comparison(op, args, at)
        raise Refused(f"{at}: {op[:100]!r} is not an operator; use one of {', '.join(OPERATORS)}.")

    def _some(self, args: tuple[Expression, ...], at: str, depth: int, bound: tuple[str, ...]) -> Predicate:
        _arity("some", args, 2, "nested events or links and a condition", at)
        nested = args[0]
        if not isinstance(nested, Nested):
            raise Refused(f"{at}[0]: some goes through nested events or links, not {_named(nested)}.")
        if nested.level not in _COLLECTIONS:
            raise Refused(f"{at}[0]: nested has the level event or link, not {nested.level[:100]!r}.")
        if nested.level in bound:
            raise Refused(f"{at}[0]: a some over {nested.level}s stands inside another; which is meant is not defined.")
        self._count()
        return Some(nested.level, self.predicate(args[1], f"{at}[1]", depth + 1, (*bound, nested.level)))

    def _member(self, op: str, args: tuple[Expression, ...], at: str) -> Predicate:
        _arity(op, args, 2, "an attribute or a field and a list", at)
        reference = self._reference(args[0], f"{at}[0]")
        given = args[1]
        if not isinstance(given, Values):
            raise Refused(f"{at}[1]: {op} takes a list of values, not {_named(given)}.")
        self._count()
        self._values += len(given.values)
        if self._values > MAX_VALUES:
            raise Refused(f"{at}[1]: a filter may list {MAX_VALUES} values at most.")
        constants = tuple(self._constant(value, given.type, reference, f"{at}[1]") for value in given.values)
        equal = Equal(reference, constants)
        return equal if op == "in" else All((Exists(reference), Not(equal)))

    def _regex(self, args: tuple[Expression, ...], at: str) -> Predicate:
        _arity("regex", args, 2, "an attribute or a field and a pattern", at)
        reference = self._reference(args[0], f"{at}[0]")
        if isinstance(reference, SpanField) and reference.holds not in TEXTS:
            raise Refused(f"{at}[0]: regex looks at text, and {reference.name} is none; compare it with gt or lt.")
        given = args[1]
        if not isinstance(given, Scalar) or given.type not in ("", "string"):
            raise Refused(f"{at}[1]: regex takes a pattern, which is a constant of the type string.")
        self._count(given.value)
        self._patterns += 1
        if self._patterns > MAX_PATTERNS:
            raise Refused(f"{at}: a filter may have {MAX_PATTERNS} regular expressions at most; join them with |.")
        try:
            Pattern(given.value)
        except ValueError as error:
            raise Refused(f"{at}[1]: {given.value[:100]!r} {error}.") from None
        return Matches(reference, given.value)

    def _comparison(self, op: str, args: tuple[Expression, ...], at: str) -> Predicate:
        _arity(op, args, 2, "two values", at)
        left, right = args
        operator = _COMPARISONS[op]
        if isinstance(left, Scalar):
            if isinstance(right, Scalar):
                raise Refused(f"{at}: two constants are compared; name an attribute or a field.")
            left, right, operator = right, left, _MIRRORED[operator]
        reference = self._reference(left, f"{at}[0]")
        if not isinstance(right, Scalar):
            return self._pair(reference, operator, self._reference(right, f"{at}[1]"), at)
        constant = self._constant(right.value, right.type, reference, f"{at}[1]")
        self._count()
        if operator == "=":
            return Equal(reference, (constant,))
        if operator == "<>":
            return All((Exists(reference), Not(Equal(reference, (constant,)))))
        _ordered(reference, at)
        if right.type == "bool":
            raise Refused(f"{at}[1]: a boolean has no order; use eq or ne.")
        return Ordered(reference, operator, constant)

    def _pair(self, left: Reference, operator: str, right: Reference, at: str) -> Predicate:
        if isinstance(left, SpanField) and isinstance(right, SpanField) and _domain(left) != _domain(right):
            raise Refused(f"{at}: {left.name} and {right.name} are not the same kind of value.")
        if operator == "<>":
            return All((Exists(left), Exists(right), Not(Compared(left, "=", right))))
        if operator != "=":
            _ordered(left, at)
            _ordered(right, at)
        return Compared(left, operator, right)

    def _reference(self, given: Expression, at: str) -> Reference:
        if isinstance(given, Attribute):
            self._count(given.key)
            if not given.key:
                raise Refused(f"{at}: an attribute needs a key.")
            if len(given.key) > MAX_KEY:
                raise Refused(f"{at}: a key may have {MAX_KEY} characters at most.")
            if given.level and given.level not in LEVELS:
                raise Refused(f"{at}: {given.level[:100]!r} is not a level; use one of {', '.join(LEVELS)}.")
            return AttributeAt(given.key, (given.level,) if given.level else _DEFAULT_LEVELS)
        if isinstance(given, Field):
            self._count()
            return field_named(given.name, given.level, at)
        raise Refused(f"{at}: an attribute or a field belongs here, not {_named(given)}.")

    def _constant(self, value: str, type_: str, reference: Reference, at: str) -> Constant:
        self._text += len(value.encode())
        self._bound_text(at)
        if isinstance(reference, SpanField):
            return field_constant(value, type_, reference, at)
        return read_constant(value, type_, at)

    def _count(self, text: str = "") -> None:
        self._nodes += 1
        self._text += len(text.encode())
        if self._nodes > MAX_NODES:
            raise Refused(f"filter: it may have {MAX_NODES} parts at most; ask for less at once.")
        self._bound_text("filter")

    def _bound_text(self, at: str) -> None:
        if self._text > MAX_TEXT:
            raise Refused(f"{at}: keys and constants may have {MAX_TEXT} bytes together.")


def field_constant(value: str, type_: str, field: SpanField, at: str) -> Constant:
    """A constant as what a field holds.

    Raises:
        Refused: it is nothing that the field can hold. `at` names the place.
    """
    if type_ and type_ not in TYPES:
        raise Refused(f"{at}: {type_[:100]!r} is not a type; use one of {', '.join(TYPES)}, or none.")
    if field.holds in TEXTS:
        if type_ not in ("", "string"):
            raise Refused(f"{at}: {field.name} holds text, not {type_}; leave the type away or say string.")
        return Constant(text=_field_text(value, field, at))
    if type_ in ("double", "bool"):
        raise Refused(f"{at}: {field.name} holds no {type_}; leave the type away.")
    number: int | None
    if field.holds == Holds.DURATION:
        number, what = parse_duration(value), "a duration with its unit (1.5s, 200ms, 1h30m), or whole nanoseconds"
    elif field.holds == Holds.INSTANT:
        number, what = parse_instant(value), "an RFC 3339 time, or whole nanoseconds since 1970"
    else:
        number, what = parse_int(value), "a whole number"
    if number is None:
        raise Refused(f"{at}: {value[:100]!r} must be {what}, for that is what {field.name} holds.")
    return Constant(integer=number)


def _field_text(value: str, field: SpanField, at: str) -> str:
    if field.holds == Holds.KIND:
        return _word(value, "span_kind_", KINDS, field, at)
    if field.holds == Holds.STATUS:
        return _word(value, "status_code_", STATUSES, field, at)
    # Stored service names are cut, so the one that is asked for is, too.
    return value[:255] if (field.level, field.name) == ("resource", "service") else value


def _word(value: str, prefix: str, words: tuple[str, ...], field: SpanField, at: str) -> str:
    word = value.lower().removeprefix(prefix)
    if word not in words:
        raise Refused(f"{at}: {field.name} is one of {', '.join(words)}, not {value[:100]!r}.")
    return word


def _ordered(reference: Reference, at: str) -> None:
    if isinstance(reference, SpanField) and reference.holds in WORDS:
        raise Refused(f"{at}: {reference.name} has no order; use eq, ne, in or not_in.")


def _domain(field: SpanField) -> str:
    return "text" if field.holds in TEXTS else field.holds


def _arity(op: str, args: tuple[Expression, ...], wanted: int, what: str, at: str) -> None:
    if len(args) != wanted:
        raise Refused(f"{at}: {op} takes {what}; it has {len(args)} argument{'' if len(args) == 1 else 's'}.")


def _named(given: object) -> str:
    names = {Attribute: "an attribute", Field: "a field", Nested: "nested", Scalar: "a constant", Values: "a list"}
    return names.get(type(given), "a condition" if isinstance(given, Call) else "nothing")
