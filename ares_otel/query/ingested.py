"""The current value of every ingested series as text for Prometheus: what `/metrics/ingested` answers.

The formats want each family in one piece, so all lines are made before the first one is given; how many there may be is
bounded. Conflicts between families that become one name are settled here:

* Two types under one name: the one that was there first stays, the other one is left out.
* Two descriptions or units: those of the series that was there first.
* Two series with the same labels (several senders without a `service.instance.id`, a sender that was started again):
  the one that appeared last, always, so that a counter does not jump between two senders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.escaping import escape_metric_name
from ares_otel.model.prometheus.kinds import Kind, kind_of
from ares_otel.model.prometheus.labels import Labels, ResourceLabels, resource_labels, scope_labels, series_labels
from ares_otel.model.prometheus.metric_names import metric_name
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.points import PointLines, sample_names
from ares_otel.model.prometheus.selector import Selector
from ares_otel.model.prometheus.text import TOTAL, Lines
from ares_otel.model.prometheus.units import legal_unit, unit_words
from ares_otel.query.live_series import Definitions, LivePage, Series, live_series

MAX_SERIES = 100_000
MAX_BYTES = 64 * 1024 * 1024
"""Of text that one answer may have."""
_TARGET_INFO = "target_info"
_JOINED = "ares_otel_exposition_joined_labels"
_LEFT_OUT = "ares_otel_exposition_left_out_series"
_JOINED_HELP = "Labels that stand for several attributes of a point, whose values are joined by semicolons"
_LEFT_OUT_HELP = "Live series that are not in this answer; docs/prometheus.md explains the reasons"
_RESERVED = {Kind.HISTOGRAM: "le", Kind.SUMMARY: "quantile"}
"""Labels of the samples themselves: an attribute of that name gives way."""
_CHUNK = 256 * 1024


class TooManySeries(AresError):
    """More series are live than one answer holds; name some of them by name[] or match[]."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an answer has."""

    config: TranslationConfig
    format: Format = field(default_factory=Format)
    names: frozenset[str] = frozenset()
    """Names of metrics or samples; empty for all."""
    selectors: tuple[Selector, ...] = ()
    """A series is wanted when any of them fits; empty for all."""
    limit: int | None = None
    """At most so many series, the others are left out. None: all, and more than `MAX_SERIES` is an error."""
    timestamps: bool = False
    """Whether lines tell the time of the point."""


@dataclass(slots=True)
class _Family:
    name: str
    kind: Kind
    unit: str
    description: str
    first_seen: datetime
    series: dict[str, tuple[datetime, UUID, str]] = field(default_factory=dict)
    """By labels: when it appeared, which one it is, its lines."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Series that are live and not in the answer, by reason. None of them is an error of who asks.

    Where names or selectors are given, deltas and what cannot be translated are not counted: nobody can say whether
    they were meant.
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
    """With a name that has no form in Prometheus, or attributes or buckets of more than 64 KiB."""


@dataclass(slots=True)
class Exposition:
    """A finished answer."""

    families: list[_Family]
    left_out: LeftOut
    _lines: Lines

    def chunks(self) -> Iterator[bytes]:
        """The text, in pieces of some hundred kilobytes."""
        pieces: list[str] = []
        size = 0
        for family in self.families:
            pieces.append(self._lines.head(family.name, family.kind, family.unit, family.description))
            for labels in sorted(family.series):
                text = family.series[labels][2]
                pieces.append(text)
                size += len(text)
                if size > _CHUNK:
                    yield "".join(pieces).encode()
                    pieces, size = [], 0
        pieces.append(self._lines.end)
        yield "".join(pieces).encode()


async def expose(pool: asyncpg.Pool, wanted: Wanted, *, own: str, now: datetime | None = None) -> Exposition:
    """The live series that are wanted, but those of the service `own`: Ares does not tell its own twice.

    Deltas are not among them: Prometheus has cumulative values only.

    Raises:
        TooManySeries: more than `MAX_SERIES`, or more text than `MAX_BYTES`, also of the resources they have.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    gathering = Gathering(wanted)
    pages = live_series(pool, gathering.definitions, gathering.choose, own=own, now=now)
    try:
        async for page in pages:
            await asyncio.to_thread(gathering.add, page)
            if gathering.full:
                break
    finally:
        await pages.aclose()  # type: ignore[attr-defined]
    return await asyncio.to_thread(gathering.finish)


class Gathering:
    """Makes an answer out of pages of live series: for each page `choose`, then `add`; at the end `finish`."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._filtered = bool(wanted.names or wanted.selectors)
        self._lines = Lines(wanted.format)
        self._points = PointLines(self._lines, wanted.config, timestamps=wanted.timestamps)
        self.definitions = Definitions()
        self._resources: dict[UUID, ResourceLabels | None] = {}
        self._scopes: dict[UUID, Labels | None] = {}
        self._names: dict[tuple[str, str, Kind], str | None] = {}
        self._chosen: dict[UUID, tuple[str, Kind, Labels] | str | None] = {}
        """A text: why it is left out. None: only whether it is live matters, for its resource's sake."""
        self._families: dict[tuple[str, Kind], _Family] = {}
        self._left_out = LeftOut()
        self._live_resources: set[UUID] = set()
        self._count = self._bytes = self._joined = 0
        self.full = False

    def choose(self, page: Sequence[Series]) -> list[Series]:
        """Those that are wanted, by name and labels. Raises TooManySeries."""
        if self.definitions.characters > MAX_BYTES:
            raise TooManySeries
        self._chosen = {}
        found = []
        for series in page:
            kind = kind_of(series.metric_type, series.temporality)
            translated = None if kind is None else self._translated(series, kind)
            if kind is None or translated is None:
                if not self._filtered:
                    self._chosen[series.series_id] = "deltas" if kind is None else "untranslatable"
                    found.append(series)
            elif self._is_wanted(translated[0], kind, translated[1]):
                self._chosen[series.series_id] = (translated[0], kind, translated[1])
                found.append(series)
            elif self._stands_for_its_resource(series):
                self._chosen[series.series_id] = None
                found.append(series)
        return found

    def _stands_for_its_resource(self, series: Series) -> bool:
        """Whether the series is needed to know that a resource is live whose `target_info` is wanted."""
        if series.resource_id is None or series.resource_id in self._live_resources:
            return False
        resource = self._resources[series.resource_id]
        info = None if resource is None else resource.info
        return info is not None and self._is_wanted(_TARGET_INFO, Kind.INFO, info)

    def _is_wanted(self, name: str, kind: Kind, labels: Labels) -> bool:
        names = sample_names(name, kind)
        if self._wanted.names and self._wanted.names.isdisjoint(names):
            return False
        selectors = self._wanted.selectors
        return not selectors or any(selector.matches(labels, names) for selector in selectors)

    def _translated(self, series: Series, kind: Kind) -> tuple[str, Labels] | None:
        """Name and labels; None where one of them has no form in Prometheus."""
        config = self._wanted.config
        key = (series.metric_name, series.unit, kind)
        if key not in self._names:
            try:
                self._names[key] = metric_name(series.metric_name, series.unit, kind, config)
            except Untranslatable:
                self._names[key] = None
        name, resource, scope = self._names[key], self._resource(series), self._scope(series)
        if name is None or resource is None or scope is None:
            return None
        try:
            made = series_labels(series.attributes, resource, scope, config)
        except Untranslatable:
            return None
        self._joined += made.collided
        labels = made.labels
        if kind in _RESERVED:
            labels.pop(_RESERVED[kind], None)
        return name, labels

    def _resource(self, series: Series) -> ResourceLabels | None:
        if series.resource_id is None:  # inserted by SQL, which knows a service's name and nothing else
            return resource_labels({"service.name": series.service_name}, self._wanted.config)
        if series.resource_id not in self._resources:
            found = self.definitions.resources.get(series.resource_id)
            try:
                made = None if found is None else resource_labels(found.attributes, self._wanted.config)
            except Untranslatable:
                made = None
            self._resources[series.resource_id] = made
        return self._resources[series.resource_id]

    def _scope(self, series: Series) -> Labels | None:
        if series.scope_id is None:
            return {}
        if series.scope_id not in self._scopes:
            found = self.definitions.scopes.get(series.scope_id)
            try:
                self._scopes[series.scope_id] = (
                    None
                    if found is None
                    else scope_labels(
                        found.name, found.version, found.schema_url, found.attributes, self._wanted.config
                    )
                )
            except Untranslatable:
                self._scopes[series.scope_id] = None
        return self._scopes[series.scope_id]

    def add(self, page: LivePage) -> None:
        """Raises TooManySeries."""
        self._skipped(untranslatable=0 if self._filtered else page.too_large)
        for series, point in page.points:
            chosen = self._chosen[series.series_id]
            if isinstance(chosen, str):
                self._skipped(**{chosen: 1})
                continue
            if series.resource_id is not None:
                self._live_resources.add(series.resource_id)
            if chosen is None:
                continue
            if self._count >= (self._wanted.limit or MAX_SERIES):
                if self._wanted.limit is None:
                    raise TooManySeries
                self._skipped(limit=1)
                self.full = True
                return
            self._count += 1
            self._add(series, *chosen, point)

    def _add(self, series: Series, name: str, kind: Kind, labels: Labels, point: Any) -> None:
        family = self._family(name, kind, series)
        escaped = escape_metric_name(name, self._wanted.format.escaping)
        pairs = self._lines.labels(labels)
        text = self._points.of(self._lines.family_name(name, kind), escaped, kind, pairs, point)
        self._bytes += len(text) + len(pairs)
        if self._bytes > MAX_BYTES:
            raise TooManySeries
        self._put(family, pairs, (series.first_seen, series.series_id, text))

    def _put(self, family: _Family, pairs: str, entry: tuple[datetime, UUID, str]) -> None:
        there = family.series.get(pairs)
        if there is not None:
            self._skipped(duplicates=1)
        if there is None or entry[:2] > there[:2]:
            family.series[pairs] = entry

    def _family(self, name: str, kind: Kind, series: Series) -> _Family:
        escaped = escape_metric_name(name, self._wanted.format.escaping)
        family = self._families.get((escaped, kind))
        if family is None or series.first_seen < family.first_seen:
            unit = "_".join(
                word for word in map(legal_unit, unit_words(series.unit, self._wanted.config.unit_table)) if word
            )
            kept = {} if family is None else family.series
            family = _Family(name, kind, unit, series.description, series.first_seen, kept)
            self._families[escaped, kind] = family
        return family

    def finish(self) -> Exposition:
        """Everything in its order, without what is in conflict."""
        self._add_target_info()
        taken: set[str] = set()
        kept: list[tuple[str, _Family]] = []
        for (escaped, kind), family in sorted(self._families.items(), key=lambda item: (item[1].first_seen, item[0])):
            names = _claimed(escaped, kind, openmetrics=self._wanted.format.openmetrics)
            if not taken.isdisjoint(names):
                self._skipped(conflicts=len(family.series))
                continue
            taken.update(names)
            kept.append((escaped, family))
        kept.sort(key=lambda item: item[0])
        families = [family for _, family in kept] + self._about_itself(taken)
        return Exposition(families, self._left_out, self._lines)

    def _add_target_info(self) -> None:
        """One for each `job` and `instance`: that of the resource that appeared last."""
        escaped = escape_metric_name(_TARGET_INFO, self._wanted.format.escaping)
        newest: dict[tuple[tuple[str, str], ...], tuple[datetime, UUID]] = {}
        for id_ in self._live_resources:
            labels = self._resources[id_]
            if labels is not None and labels.info is not None:
                key = tuple(sorted(labels.identity.items()))
                seen = (self.definitions.resources[id_].first_seen, id_)
                newest[key] = max(newest.get(key, seen), seen)
        family = _Family(_TARGET_INFO, Kind.INFO, "", "Target metadata", datetime.min)
        for first_seen, id_ in newest.values():
            found = self._resources[id_]
            assert found is not None
            assert found.info is not None
            if self._is_wanted(_TARGET_INFO, Kind.INFO, found.info):
                pairs = self._lines.labels(found.info)
                self._put(family, pairs, (first_seen, id_, self._lines.sample(escaped, pairs, 1)))
        if family.series:
            family.first_seen = min(entry[0] for entry in family.series.values())
            self._families[escaped, Kind.INFO] = family

    def _about_itself(self, taken: Set[str]) -> list[_Family]:
        """What the answer says about itself, unless a metric that was sent has the name."""
        reasons = {f'reason="{reason}"': count for reason, count in asdict(self._left_out).items()}
        told = (_JOINED, _JOINED_HELP, {"": self._joined}), (_LEFT_OUT, _LEFT_OUT_HELP, reasons)
        made = [self._told(*what) for what in told if self._is_wanted(what[0], Kind.GAUGE, {})]
        escaping = self._wanted.format.escaping
        return [family for family in made if escape_metric_name(family.name, escaping) not in taken]

    def _told(self, name: str, description: str, counts: Mapping[str, int]) -> _Family:
        """A number about this answer, as a metric of it."""
        family = _Family(name, Kind.GAUGE, "", description, datetime.min)
        escaped = escape_metric_name(name, self._wanted.format.escaping)
        for pairs, count in counts.items():
            family.series[pairs] = (datetime.min, UUID(int=0), self._lines.sample(escaped, pairs, count))
        return family

    def _skipped(self, **counts: int) -> None:
        self._left_out = replace(
            self._left_out, **{name: getattr(self._left_out, name) + count for name, count in counts.items()}
        )


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
