"""Families of metrics for one answer to a scrape, and what becomes of those that cannot stand beside each other.

* Two types under one name: the one that was there first stays, the other one is left out. A number of unknown type
  joins the counter or gauge of its name.
* Two descriptions or units: those of the series that was there first.
* Two series with the same labels (several senders without a `service.instance.id`, a sender that was started again):
  the one that appeared last, always, so that a counter does not jump between two senders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from ares_otel.model.prometheus.config import Untranslatable
from ares_otel.model.prometheus.escaping import escape_metric_name
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.points import sample_names
from ares_otel.model.prometheus.text import TOTAL
from ares_otel.model.prometheus.writers import Key, Writer
from ares_otel.query.prometheus.pieces import order_of

_CHUNK = 256 * 1024
Entry = tuple[datetime, UUID, bytes]
"""When a series appeared, which one it is, its samples."""


@dataclass(slots=True)
class Family:
    name: str
    kind: Kind
    unit: str
    description: str
    first_seen: datetime
    series: dict[Key, Entry] = field(default_factory=dict)
    """By labels."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Series that are live and not in the answer, by reason. None of them is an error of who asks.

    Where names or selectors are given, deltas and names that cannot be translated are not counted: nobody can say
    whether they were meant.
    """

    limit: int = 0
    """Beyond the limit that was asked for; where some are, it is not known how many."""
    duplicates: int = 0
    """Of another series with the same name and labels."""
    conflicts: int = 0
    """Of a metric whose name belongs to one of another type."""
    deltas: int = 0
    """Without cumulative values."""
    untranslatable: int = 0
    """With a name that has no form in Prometheus, a point that the format has no place for, or attributes or buckets of
    more than 64 KiB."""

    def plus(self, **counts: int) -> LeftOut:
        """The same and more."""
        return replace(self, **{name: getattr(self, name) + count for name, count in counts.items()})


@dataclass(slots=True)
class Finished:
    """Families that can stand beside each other."""

    families: list[Family] = field(default_factory=list)
    """By name."""
    taken: set[str] = field(default_factory=set)
    """The names of their samples, and their own."""
    conflicts: int = 0
    """Series whose name belongs to another metric."""
    duplicates: int = 0
    """Series of unknown type that are there with a type."""


@dataclass(slots=True)
class Exposition:
    """A finished answer."""

    families: list[Family]
    left_out: LeftOut
    _writer: Writer

    def chunks(self) -> Iterator[bytes]:
        """The answer, in pieces of some hundred kilobytes."""
        pieces: list[bytes] = []
        size = 0
        for family in self.families:
            metrics = [family.series[key][2] for key in sorted(family.series, key=_order)]
            for piece in self._writer.family(family.name, family.kind, family.unit, family.description, metrics):
                pieces.append(piece)
                size += len(piece)
                if size > _CHUNK:
                    yield b"".join(pieces)
                    pieces, size = [], 0
        pieces.append(self._writer.end)
        yield b"".join(pieces)


def _order(key: Key) -> str:
    """A text that is ordered as the labels are: see `order_of`."""
    return key if isinstance(key, str) else order_of(key)


class Families:
    """Collects the families of an answer."""

    def __init__(self, format_: Format, writer: Writer) -> None:
        self._format = format_
        self._writer = writer
        self._families: dict[tuple[str, Kind], Family] = {}

    def family(self, name: str, kind: Kind, unit: str, description: str, first_seen: datetime) -> Family:
        """The family of a series, which says what is told about it where the series is the first one.

        Args:
            unit: in words.
        """
        key = (escape_metric_name(name, self._format.escaping), kind)
        family = self._families.get(key)
        if family is None or first_seen < family.first_seen:
            kept = {} if family is None else family.series
            family = self._families[key] = Family(name, kind, unit, description, first_seen, kept)
        return family

    def finished(self) -> Finished:
        """Settles what cannot stand beside each other."""
        found = Finished()
        kept: dict[str, Family] = {}
        for (escaped, kind), family in sorted(self._families.items(), key=lambda item: (item[1].first_seen, item[0])):
            names = set(_claimed(escaped, kind, openmetrics=self._format.openmetrics))
            there = kept.get(escaped)
            pair = None if there is None else _untyped_and_typed(there, family)
            if pair is not None and found.taken.isdisjoint(names - {escaped}):
                self._join(*pair, found)
                kept[escaped] = pair[1]
            elif found.taken.isdisjoint(names):
                kept[escaped] = family
            else:
                found.conflicts += len(family.series)
                continue
            found.taken |= names
        found.families = [family for _, family in sorted(kept.items(), key=lambda item: item[0])]
        return found

    def _join(self, untyped: Family, typed: Family, found: Finished) -> None:
        """Puts numbers that nobody said a type of (remote write 1.0 tells types later, or never) to those of a type."""
        for key, (first_seen, id_, samples) in untyped.series.items():
            try:
                entry = first_seen, id_, self._writer.typed(typed.name, typed.kind, samples)
            except Untranslatable:
                found.conflicts += 1
                continue
            found.duplicates += put(typed, key, entry)
        typed.unit = typed.unit or untyped.unit
        typed.description = typed.description or untyped.description


def _untyped_and_typed(one: Family, other: Family) -> tuple[Family, Family] | None:
    """Two families of one name in this order; None where they are no number of unknown type and a counter or gauge."""
    untyped, typed = (one, other) if one.kind is Kind.UNKNOWN else (other, one)
    joins = untyped.kind is Kind.UNKNOWN and typed.kind in (Kind.COUNTER, Kind.GAUGE)
    return (untyped, typed) if joins else None


def put(family: Family, key: Key, entry: Entry) -> bool:
    """Adds a series; whether another one had its labels already. The one that appeared last stays."""
    there = family.series.get(key)
    if there is None or entry[:2] > there[:2]:
        family.series[key] = entry
    return there is not None


def _claimed(name: str, kind: Kind, *, openmetrics: bool) -> tuple[str, ...]:
    """Names that no other family may have: its own and those of its samples."""
    names = sample_names(name, kind)
    if not openmetrics:
        return names
    if kind is Kind.COUNTER and name.endswith(TOTAL):
        family = name.removesuffix(TOTAL)
        return (family, name, f"{family}_created")
    if kind is Kind.INFO:
        return (name.removesuffix("_info"), name)
    return (*names, f"{name}_created") if kind in (Kind.HISTOGRAM, Kind.SUMMARY) else names
