"""A predicate as SQL over `service_spans s`, with bound parameters.

Two things are answered before: which resources and scopes satisfy a condition about them (`Aside`; their ids are what
the statement asks for), and which texts a regular expression is found
in (`TextsOf`; the texts are what it asks for). `Answers` holds what was learned.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from ares_otel.query.search.fields import Holds, SpanField
from ares_otel.query.search.predicate import (
    All,
    Any_,
    AttributeAt,
    Compared,
    Equal,
    Exists,
    Has,
    Matches,
    Not,
    Ordered,
    Predicate,
    Reference,
    Some,
)
from ares_otel.query.search.subjects import (
    FieldValue,
    Held,
    Parameters,
    Place,
    Subject,
    any_of,
    forms_of,
    json_of,
    object_of,
    wanted_forms,
)

_PLACES = {
    "span": Place("s.attributes", "s.attributes_raw", 1, "s.attributes_raw"),
    "resource": Place("r.attributes", "r.attributes_raw", 1, "r.attributes_raw"),
    "scope": Place("c.attributes", "c.attributes_raw", 1, "c.attributes_raw"),
    "event": Place("(e.v -> 'attributes')", "otlp_element(s.events_raw, 11, e.i)", 3, "s.events_raw"),
    "link": Place("(l.v -> 'attributes')", "otlp_element(s.links_raw, 13, l.i)", 4, "s.links_raw"),
}
_SERVICE_NAME = "service.name"
_NO_RESOURCE = Place(f"jsonb_build_object('{_SERVICE_NAME}', s.service_name)", "NULL::bytea", 1, "NULL::bytea")
"""A span that was not written by OTLP has no resource; readers give it one of its service."""
_ARRAY = "CASE jsonb_typeof({0}) WHEN 'array' THEN {0} ELSE '[]' END"
"""A row that somebody wrote by hand may hold anything."""
ELEMENTS = {
    "event": f"jsonb_array_elements({_ARRAY.format('s.events')}) WITH ORDINALITY AS e (v, i)",
    "link": f"jsonb_array_elements({_ARRAY.format('s.links')}) WITH ORDINALITY AS l (v, i)",
}
_COLUMNS = {"event": "s.events", "link": "s.links"}
_TABLES = {"resource": ("otel_resources r", "r.resource_id"), "scope": ("otel_scopes c", "c.scope_id")}
_NAMES = {"name": "name", "traceID": "trace_id", "spanID": "span_id"}
"""Fields of events and links that are looked for in jsonb, by what they are there."""

_ELEMENT, _ELEMENT_ALIAS = re.compile(r"\b([el])\.([vi])\b"), re.compile(r"AS ([el])\b")

Test = Callable[[Subject], str]


@dataclass(slots=True)
class Aside:
    """A condition about resources or scopes."""

    level: str
    condition: str
    arguments: list[object]
    texts: str | None = None
    """What a regular expression looks at; then the condition is only that there is such a text."""
    pattern: str | None = None

    @property
    def table(self) -> str:
        """With its alias."""
        return _TABLES[self.level][0]

    @property
    def id(self) -> str:
        return _TABLES[self.level][1]


@dataclass(slots=True)
class TextsOf:
    """The texts that a regular expression looks at: an expression, over the spans and what is joined to them."""

    sql: str
    joined: str
    pattern: str


@dataclass(slots=True)
class Answers:
    """What was learned before, by the number of the question: a predicate asks in the same order always."""

    ids: dict[int, list[UUID] | None] = field(default_factory=dict)
    """Of resources and scopes; None where there are too many to be listed."""
    services: dict[int, list[str]] = field(default_factory=dict)
    """Whose resources these are."""
    aside_texts: dict[int, list[str]] = field(default_factory=dict)
    texts: dict[int, list[str]] = field(default_factory=dict)


class Compiler:
    """Compiles one predicate once."""

    def __init__(self, answers: Answers, parameters: Parameters, *, superset: bool = False) -> None:
        """
        Args:
            superset: leaves regular expressions open: what is compiled holds for every span that might match.
        """
        self.asides: list[Aside] = []
        self.texts: list[TextsOf] = []
        self._answers = answers
        self._parameters = parameters
        self._superset = superset
        self._bound: tuple[str, ...] = ()

    def compile(self, predicate: Predicate) -> list[str]:
        """Conditions that all hold."""
        parts = predicate.parts if isinstance(predicate, All) else (predicate,)
        return [made for part in parts for made in self._conjunct(part)]

    def _conjunct(self, part: Predicate) -> list[str]:
        if isinstance(part, All):
            return self.compile(part)
        before = len(self.asides)
        made = [self._predicate(part, True, False)]
        services = self._answers.services.get(before)
        if services and _only_of_resources(part):
            made.append(f"s.service_name = ANY({self._parameters.add(services, 'text[]')})")
        return made

    def _predicate(self, part: Predicate, positive: bool, negated: bool) -> str:
        """One condition.

        Args:
            positive: whether an even number of negations is around it.
            negated: whether any is: then NULL must be false.
        """
        if isinstance(part, All):
            return "(" + " AND ".join(self._predicate(one, positive, negated) for one in part.parts) + ")"
        if isinstance(part, Any_):
            return "(" + " OR ".join(self._predicate(one, positive, negated) for one in part.parts) + ")"
        if isinstance(part, Not):
            return f"NOT ({self._predicate(part.part, not positive, True)})"
        made = self._some(part, positive, negated) if isinstance(part, Some) else self._leaf(part, positive)
        return f"(({made}) IS TRUE)" if negated else f"({made})"

    def _some(self, some: Some, positive: bool, negated: bool) -> str:
        around, self._bound = self._bound, (*self._bound, some.level)
        inner = self._predicate(some.part, positive, negated)
        self._bound = around
        hints = [self._contains(some.level, forms) for forms in _implied(some.part, some.level)]
        return " AND ".join([*hints, self._exists(some.level, inner)])

    def _exists(self, level: str, condition: str) -> str:
        column = _COLUMNS[level]
        return f"{column} <> '[]' AND EXISTS (SELECT FROM {ELEMENTS[level]} WHERE {condition})"

    def _contains(self, level: str, forms: list[str]) -> str:
        return f"{_COLUMNS[level]} @> ANY({self._parameters.add(forms, 'text[]::jsonb[]')})"

    def _leaf(self, part: Predicate, positive: bool) -> str:
        if isinstance(part, Exists):
            return self._at(part.reference, lambda subject: subject.exists())
        if isinstance(part, Equal):
            return self._at(part.reference, lambda subject: subject.equal(part.constants), part)
        if isinstance(part, Has):
            return self._at(part.attribute, lambda subject: _has(subject, part), part)
        if isinstance(part, Ordered):
            return self._at(part.reference, lambda subject: subject.ordered(part.operator, part.constant))
        if isinstance(part, Matches):
            return self._matches(part, positive)
        assert isinstance(part, Compared)
        return self._compared(part)

    def _at(self, reference: Reference, test: Test, part: Equal | Has | None = None) -> str:
        """The test, at each level."""
        return any_of(self._at_level(reference, level, test, part) for level in _levels(reference))

    def _at_level(self, reference: Reference, level: str, test: Test, part: Equal | Has | None) -> str:
        if level in _TABLES and not _of_span(reference):
            return self._aside(reference, level, test)
        condition = test(_subject(reference, level, self._parameters))
        if level not in ELEMENTS or level in self._bound:
            return condition
        forms = _forms(part, level) if part is not None else None
        if forms == []:
            return "false"
        hint = [self._contains(level, forms)] if forms is not None else []
        return " AND ".join([*hint, self._exists(level, condition)])

    def _aside(self, reference: Reference, level: str, test: Test, pattern: str | None = None) -> str:
        number = len(self.asides)
        own = Parameters()
        subject = _subject(reference, level, own)
        texts = subject.text() if pattern is not None else None
        condition = f"({texts}) IS NOT NULL" if texts is not None else test(subject)
        if pattern is not None and number in self._answers.aside_texts:
            condition = self._one_of(subject, self._answers.aside_texts[number], own)
        self.asides.append(Aside(level, condition, own.values, texts, pattern))
        column = f"s.{level}_id"
        ids = self._answers.ids.get(number, [])
        if ids is not None:
            made = f"{column} = ANY({self._parameters.add(ids, 'uuid[]')})" if ids else "false"
        else:
            again = _subject(reference, level, self._parameters)
            known = self._answers.aside_texts.get(number, [])
            condition = self._one_of(again, known, self._parameters) if pattern is not None else test(again)
            table, id_ = _TABLES[level]
            made = f"{column} IN (SELECT {id_} FROM {table} WHERE {condition})"  # noqa: S608
        if level == "resource" and isinstance(reference, AttributeAt) and reference.key == _SERVICE_NAME:
            bare = Held(_NO_RESOURCE, reference.key, self._parameters)
            made = f"({made}) OR (s.resource_id IS NULL AND {test(bare)})"
        return made

    def _matches(self, part: Matches, positive: bool) -> str:
        ways = []
        for level in _levels(part.reference):
            if level in _TABLES and not _of_span(part.reference):
                ways.append(self._aside(part.reference, level, lambda subject: "false", part.pattern))
                continue
            number = len(self.texts)
            subject = _subject(part.reference, level, self._parameters)
            alone = level in ELEMENTS and level not in self._bound
            joined = "".join(
                f" CROSS JOIN LATERAL {ELEMENTS[one]}" for one in (*self._bound, *([level] if alone else ()))
            )
            self.texts.append(TextsOf(subject.text(), joined, part.pattern))
            condition = self._one_of(subject, self._answers.texts.get(number, []), self._parameters)
            ways.append(self._exists(level, condition) if alone else condition)
            if self._superset:
                ways.append("true" if positive else "false")
        if self._superset and not positive and "false" in ways:
            return "false"
        return any_of(ways)

    def _one_of(self, subject: Subject, texts: list[str], parameters: Parameters) -> str:
        return f"({subject.text()}) = ANY({parameters.add(texts, 'text[]')})" if texts else "false"

    def _compared(self, part: Compared) -> str:
        """Each value of the one with each of the other."""
        ways = []
        for left in _levels(part.left):
            for right in _levels(part.right):
                a, b = (
                    _subject(reference, level, self._parameters)
                    for reference, level in ((part.left, left), (part.right, right))
                )
                pairs = [(f'({a.text()}) COLLATE "C"', b.text()), (a.number(), b.number())]
                if part.operator == "=":
                    pairs.append((a.boolean(), b.boolean()))
                condition = any_of(f"({x}) {part.operator} ({self._second(right, y)})" for x, y in pairs)
                condition = self._joined(part.right, right, condition, second=True)
                ways.append(self._joined(part.left, left, condition))
        return any_of(ways)

    def _second(self, level: str, sql: str) -> str:
        """The same about another element: both sides may look at events."""
        return sql if level in self._bound else _ELEMENT.sub(r"\1\1.\2", sql)

    def _joined(self, reference: Reference, level: str, condition: str, *, second: bool = False) -> str:
        if level in ELEMENTS and level not in self._bound:
            elements = _ELEMENT_ALIAS.sub(r"AS \1\1", ELEMENTS[level]) if second else ELEMENTS[level]
            return f"EXISTS (SELECT FROM {elements} WHERE {condition})"
        if level in _TABLES and not _of_span(reference):
            table, id_ = _TABLES[level]
            return f"EXISTS (SELECT FROM {table} WHERE {id_} = s.{level}_id AND {condition})"
        return condition


def _subject(reference: Reference, level: str, parameters: Parameters) -> Subject:
    if isinstance(reference, SpanField):
        return FieldValue(reference, parameters)
    return Held(_PLACES[level], reference.key, parameters)


def _has(subject: Subject, part: Has) -> str:
    assert isinstance(subject, Held)
    return subject.has(part.value, loose=part.loose)


def _reference(part: Predicate) -> Reference:
    if isinstance(part, Has):
        return part.attribute
    assert isinstance(part, (Equal, Ordered, Matches, Exists))
    return part.reference


def _levels(reference: Reference) -> tuple[str, ...]:
    return (reference.level,) if isinstance(reference, SpanField) else reference.levels


def _only_of_resources(part: Predicate) -> bool:
    """Whether spans that satisfy it have one of the resources that do, and so the name of its service."""
    if not isinstance(part, (Equal, Has, Ordered, Matches, Exists)):
        return False
    reference = _reference(part)
    bare = isinstance(reference, AttributeAt) and reference.key == _SERVICE_NAME
    return _levels(reference) == ("resource",) and not _of_span(reference) and not bare


def _of_span(reference: Reference) -> bool:
    """Whether a field of the resource stands in the span's own row."""
    return isinstance(reference, SpanField) and (reference.level, reference.name) == ("resource", "service")


def _forms(part: Equal | Has, level: str) -> list[str] | None:
    """What `events` or `links` contain where one of their elements satisfies the part; None where that is not known."""
    reference = _reference(part)
    if level not in _levels(reference):
        return None
    if isinstance(reference, SpanField):
        name = _NAMES.get(reference.name) if reference.holds in (Holds.TEXT, Holds.ID) else None
        if name is None or not isinstance(part, Equal):
            return None
        return [
            f"[{object_of(name, json_of(reference.same_text(constant.text or '')))}]" for constant in part.constants
        ]
    forms = wanted_forms(part.value, loose=part.loose) if isinstance(part, Has) else forms_of(part.constants)
    return [f'[{{"attributes":{object_of(reference.key, form)}}}]' for form, _ in forms]


def _implied(part: Predicate, level: str) -> list[list[str]]:
    """The same, for what must hold of one element."""
    if isinstance(part, All):
        return [forms for one in part.parts for forms in _implied(one, level)]
    if isinstance(part, (Equal, Has)) and _levels(_reference(part)) == (level,):
        forms = _forms(part, level)
        return [forms] if forms else []
    return []
