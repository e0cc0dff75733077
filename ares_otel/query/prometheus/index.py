"""Finds stored series by matchers (`=`, `!=`, `=~`, `!~`) on their labels in Prometheus.

A label that is missing has the empty value, as in Prometheus. Each matcher becomes a condition on the ids of labels:
one that must be there, some of which one is enough, or some of which none may be there. Expressions are tried on the
distinct values of their label, not on series.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from ares_otel.model.prometheus.selector import Matcher, Selector
from ares_otel.query.prometheus.indexing import STATEMENTS, label_key
from ares_otel.query.prometheus.patience import Patience
from ares_otel.query.prometheus.patterns import ANYTHING, SOMETHING, alternatives, common, prefix
from ares_otel.query.prometheus.translation import RESERVED
from ares_otel.query.reader import Reader
from ares_otel.query.statements import load_statements

PAGE = 2000
"""Series that are given together."""
MANY = 100
"""Labels of a list that are compared with those of a series; of a longer list each is looked up in the index."""
LONG = 5000
"""From here on they are not looked up, which takes a second for so many: it is seen here which series have one. Of what
series may not have `MANY` are as many as that."""
_VALUES = 5000
"""Values that an expression is tried on together."""
_TEXTS = 200_000
"""Labels whose texts are remembered during one question."""
_OF_POINTS = frozenset(RESERVED.values())
_SQL = load_statements("prometheus_select.sql")


@dataclass(frozen=True, slots=True)
class Entry:
    """A series that was found; of a histogram or summary all series that differ in `le` or `quantile` alone."""

    series_id: UUID
    part: str
    kind: str
    labels: Mapping[str, str]
    """With `__name__`."""
    resource_id: UUID | None
    first_seen: datetime
    verbatim: bool
    """Whether it came as Prometheus has it."""
    selectors: tuple[Selector, ...] = ()
    """Those that it fits, as far as `le` and `quantile` do not matter."""

    def wants(self, value: str) -> bool:
        """Whether the one with this value of `le` or `quantile` is meant."""
        name = RESERVED[self.part]
        return any(
            all(matcher.test(value) for matcher in selector.matchers if matcher.label == name)
            for selector in self.selectors
        )


async def entries(reader: Reader, selectors: Sequence[Selector]) -> AsyncIterator[list[Entry]]:
    """Series that fit any of the selectors, each once, some at a time; those of one stored series follow each other
    as far as one selector found them.

    Raises DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    texts = Texts(reader)
    with Patience() as patience:
        for number, selector in enumerate(selectors):
            conditions = await conditions_of(reader, selector, patience)
            if conditions is None:
                continue
            chosen = _Chosen(selectors, number, conditions, patience)
            wide = ("label_ids", "kind")
            # Samples that are read meanwhile are of the same moment: also deltas and what they add up to.
            async with reader.cursor(_SQL["series"], wide, True, **conditions.parameters) as cursor:
                cursor.most = PAGE
                while rows := await cursor.fetch():
                    labels = await texts.of(rows)
                    threaded = asyncio.to_thread(chosen.of, rows, labels) if chosen.tries else None
                    found = chosen.of(rows, labels) if threaded is None else await threaded
                    if found:
                        yield found


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Makes entries of what the database found for one of some selectors."""

    selectors: Sequence[Selector]
    number: int
    """Of the selector."""
    conditions: Conditions
    """Of the selector."""
    patience: Patience

    @property
    def tries(self) -> bool:
        """Whether matchers must be tried on labels, which takes a thread: expressions are as slow as they are made."""
        return self.conditions.rest or len(self.selectors) > 1

    def of(self, rows: Sequence[Any], labels: Sequence[Mapping[str, str] | None]) -> list[Entry]:
        """The entries; none of what an earlier selector has found. Raises QueryTooSlow."""
        selector, earlier, later = self.selectors[self.number], self.selectors[: self.number], self._later
        rest, allows = self.conditions.rest, self.conditions.allows
        found = []
        for row, own in zip(rows, labels, strict=True):
            series_id, part, kind, label_ids, resource_id, first_seen, verbatim = row
            if own is None or not allows(label_ids):
                continue
            self.patience.check()
            if earlier and any(fits(one, part, own) for one in earlier):
                continue
            if rest and not fits(selector, part, own):
                continue
            fitting = (selector, *(one for one in later if fits(one, part, own)))
            found.append(Entry(series_id, part, kind, own, resource_id, first_seen, verbatim, fitting))
        return found

    @property
    def _later(self) -> Sequence[Selector]:
        return self.selectors[self.number + 1 :]


def fits(selector: Selector, part: str, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector, but for the label that only the samples of this part have."""
    reserved = RESERVED.get(part)
    return all(
        matcher.test(labels.get(matcher.label, "")) for matcher in selector.matchers if matcher.label != reserved
    )


@dataclass
class Conditions:
    """What the labels of a series must be."""

    all_of: list[int] = field(default_factory=list)
    any_of: list[list[int]] = field(default_factory=list)
    none_of: list[int] = field(default_factory=list)
    of_points: bool = False
    """Whether `le` or `quantile` is asked for, which not all series have in the index."""

    @property
    def rest(self) -> bool:
        """Whether `parameters` lack something of what was asked."""
        few, many = self._lists
        return self.of_points or len(few) > 2 or len(many) > 1

    @cached_property
    def allows(self) -> Callable[[Sequence[int]], bool]:
        """Says of the labels of a series whether the long lists allow them; `parameters` lack those."""
        wanted = [frozenset(ids) for ids in self.any_of if len(ids) > LONG]
        unwanted = frozenset(self.none_of if len(self.none_of) > MANY else ())

        def allowed(ids: Sequence[int]) -> bool:
            return unwanted.isdisjoint(ids) and not any(some.isdisjoint(ids) for some in wanted)

        return allowed

    @property
    def _lists(self) -> tuple[list[list[int]], list[list[int]]]:
        """Those of which one is enough, but for the long ones: to compare, and to look up. Something must be looked
        up."""
        lists = sorted((ids for ids in self.any_of if len(ids) <= LONG), key=len)
        few = [ids for ids in lists if len(ids) <= MANY]
        many = [ids for ids in lists if len(ids) > MANY]
        if few and not many and not self.all_of:
            few, many = few[1:], few[:1]
        return few, many

    @property
    def parameters(self) -> dict[str, object]:
        """Of the statement `series`."""
        few, many = self._lists
        return {
            "all_of": self.all_of or None,
            "any_of_a": few[0] if few else None,
            "any_of_b": few[1] if len(few) > 1 else None,
            "any_of_many": many[0] if many else None,
            "none_of": self.none_of if 0 < len(self.none_of) <= MANY else None,
        }


async def conditions_of(reader: Reader, selector: Selector, patience: Patience) -> Conditions | None:
    """None where nothing fits. Raises QueryTooSlow, among others."""
    made = Conditions()
    for matcher in selector.matchers:
        if matcher.label in _OF_POINTS:
            made.of_points = True
        elif not await _add(reader, made, matcher, patience):
            return None
    return made


async def _add(reader: Reader, made: Conditions, matcher: Matcher, patience: Patience) -> bool:
    """Adds what a matcher asks for; False where nothing fits."""
    label, value = matcher.label, matcher.value
    has = label_key(label, "")
    if matcher.operator in ("=", "!="):
        found = await _ids(reader, [label_key(label, value)])
        return _demand(made, found, positive=(matcher.operator == "=") == bool(value), single=True)
    negative = matcher.operator == "!~"
    takes_empty = matcher.test("")  # what a series without the label has
    if value in ANYTHING:
        return not negative
    if not value:
        return _demand(made, await _ids(reader, [has]), positive=negative, single=True)
    if value in SOMETHING:
        return _demand(made, await _ids(reader, [has]), positive=not negative, single=True)
    if takes_empty and not negative:  # without the label, or with a value that matches
        _, others = await _tried(reader, matcher, Known(), patience)
        made.none_of += others
        return True
    texts = alternatives(value)
    known = Known(prefix(value), common(value))
    if texts is not None:
        hits, others = await _ids(reader, [label_key(label, text) for text in texts if text]), []
    else:
        hits, others = await _tried(reader, matcher, known, patience)
        if negative:
            hits, others = others, hits
    if negative:
        made.none_of += hits
        return takes_empty or _demand(made, await _ids(reader, [has]), positive=True, single=True)
    if others and known == Known() and len(hits) > len(others):  # most values: the others are fewer
        made.none_of += others
        return _demand(made, await _ids(reader, [has]), positive=True, single=True)
    return _demand(made, hits, positive=True)


def _demand(made: Conditions, ids: list[int], *, positive: bool, single: bool = False) -> bool:
    if not positive:
        made.none_of += ids
        return True
    if single or len(ids) == 1:
        made.all_of += ids
    else:
        made.any_of.append(ids)
    return bool(ids)


async def _ids(reader: Reader, keys: Sequence[UUID]) -> list[int]:
    """Ids of labels; none of those that no series has."""
    return [row["label_id"] for row in await reader.fetch(STATEMENTS["label_ids"], keys=list(keys))]


class Known(NamedTuple):
    """What values of interest have in common."""

    prefix: str = ""
    part: str = ""


async def _tried(reader: Reader, matcher: Matcher, known: Known, patience: Patience) -> tuple[list[int], list[int]]:
    """Labels whose value passes the matcher, and those whose value does not; of the values of interest."""
    passed: list[int] = []
    failed: list[int] = []

    def test(rows: Iterable[Any]) -> None:
        for row in rows:
            patience.check()
            (passed if matcher.test(row["value"]) else failed).append(row["label_id"])

    values = {"name": matcher.label, "prefix": known.prefix or None, "part": known.part or None}
    async with reader.cursor(_SQL["values"], ("value", "nothing"), **values) as cursor:
        cursor.most = _VALUES
        while rows := await cursor.fetch():
            await asyncio.to_thread(test, rows)
    return passed, failed


class Texts:
    """Labels of series by their ids; remembers those that were met."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[int, tuple[str, str] | None] = {}
        """None for those that have no value: they say that there is a label of this name."""

    async def of(self, rows: Sequence[Any]) -> list[dict[str, str] | None]:
        """The labels of each row; None for a series that has just been removed."""
        if len(self._known) > _TEXTS:
            self._known.clear()
        known = self._known
        ids = [row["label_ids"] for row in rows]
        wanted = set(chain.from_iterable(ids)) - known.keys()
        if wanted:
            for row in await self._reader.fetch(_SQL["texts"], ids=list(wanted)):
                known[row["label_id"]] = (row["name"], row["value"]) if row["value"] else None
            if not wanted <= known.keys():
                return [self._labels(own) for own in ids]
        return [dict(filter(None, map(known.__getitem__, own))) for own in ids]

    def _labels(self, ids: Sequence[int]) -> dict[str, str] | None:
        if not self._known.keys() >= set(ids):
            return None
        return dict(filter(None, map(self._known.__getitem__, ids)))
