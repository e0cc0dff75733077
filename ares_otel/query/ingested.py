"""The current value of every ingested series for Prometheus: what `/metrics/ingested` answers.

The formats want each family in one piece, so all samples are made before the first one is given; how many there may be
is bounded. What becomes of families that cannot stand beside each other is settled in `exposition`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.escaping import escape_metric_name
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.labels import Labels
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.points import number_of, sample_names
from ares_otel.model.prometheus.selector import Selector
from ares_otel.model.prometheus.type_and_unit import unit_label
from ares_otel.model.prometheus.writers import writer_of
from ares_otel.query.exposition import Exposition, Families, Family, LeftOut, put
from ares_otel.query.live_series import Definitions, LivePage, Series, live_series
from ares_otel.query.prometheus.patience import Patience
from ares_otel.query.translated import Translated, Translator

__all__ = ["MAX_BYTES", "MAX_SERIES", "Exposition", "Gathering", "LeftOut", "TooManySeries", "Wanted", "expose"]

MAX_SERIES = 100_000
MAX_BYTES = 64 * 1024 * 1024
"""That one answer may have."""
_TARGET_INFO = "target_info"
_JOINED = "ares_otel_exposition_joined_labels"
_LEFT_OUT = "ares_otel_exposition_left_out_series"
_EMPTY_SUMS = "ares_otel_exposition_zero_count_nonzero_sum"
_JOINED_HELP = "Labels that stand for several attributes of a point, whose values are joined by semicolons"
_LEFT_OUT_HELP = "Live series that are not in this answer; docs/prometheus.md explains the reasons"
_EMPTY_SUMS_HELP = "Histograms that have a sum and no measurements: what sent them is mistaken"


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


async def expose(pool: asyncpg.Pool, wanted: Wanted, *, own: str, now: datetime | None = None) -> Exposition:
    """The live series that are wanted, but those of the service `own`: Ares does not tell its own twice.

    Deltas of counters and histograms are told as what they add up to; other deltas are not among them, for Prometheus
    has cumulative values only.

    Raises:
        TooManySeries: more than `MAX_SERIES`, or more text than `MAX_BYTES`, also of the resources they have.
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    gathering = Gathering(wanted)
    pages = live_series(pool, gathering.definitions, gathering.choose, own=own, buckets=wanted.format.protobuf, now=now)
    with gathering.patience:
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
        self._writer = writer_of(wanted.format, wanted.config, timestamps=wanted.timestamps)
        self.definitions = Definitions()
        self._translator = Translator(wanted.config, self.definitions)
        self._chosen: dict[UUID, Translated | str | None] = {}
        """A text: why it is left out. None: only whether it is live matters, for its resource's sake."""
        self._families = Families(wanted.format, self._writer)
        self._left_out = LeftOut()
        self._live_resources: set[UUID] = set()
        self._count = self._bytes = self._empty_sums = 0
        self.full = False
        self.patience = Patience()
        """Of the selectors."""

    def choose(self, page: Sequence[Series]) -> list[Series]:
        """Those that are wanted, by name and labels. Raises TooManySeries, QueryTooSlow."""
        if self.definitions.characters > MAX_BYTES:
            raise TooManySeries
        self._chosen = {}
        found = []
        for series in page:
            translated = self._translator.translated(series)
            if isinstance(translated, str):
                if not self._filtered:
                    self._chosen[series.series_id] = translated
                    found.append(series)
            elif self._is_wanted(translated.name, translated.kind, translated.labels):
                self._chosen[series.series_id] = translated
                found.append(series)
            elif self._stands_for_its_resource(series):
                self._chosen[series.series_id] = None
                found.append(series)
        return found

    def _stands_for_its_resource(self, series: Series) -> bool:
        """Whether the series is needed to know that a resource is live whose `target_info` is wanted."""
        if series.resource_id is None or series.resource_id in self._live_resources:
            return False
        resource = self._translator.resource(series)
        info = None if resource is None else resource.info
        return info is not None and self._is_wanted(_TARGET_INFO, Kind.INFO, info)

    def _is_wanted(self, name: str, kind: Kind, labels: Labels) -> bool:
        names = sample_names(name, kind)
        if self._wanted.names and self._wanted.names.isdisjoint(names):
            return False
        selectors = self._wanted.selectors
        if selectors:
            self.patience.check()
        return not selectors or any(selector.matches(labels, names) for selector in selectors)

    def add(self, page: LivePage) -> None:
        """Raises TooManySeries."""
        self._skipped(untranslatable=0 if self._filtered else page.too_large, deltas=page.not_added_up)
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
            self._add(series, chosen, point)

    def _add(self, series: Series, is_: Translated, point: Any) -> None:
        if is_.kind is Kind.INFO and number_of(point) != 1:
            self._skipped(untranslatable=1)  # OpenMetrics has no other information
            return
        key = self._writer.key(is_.labels)
        kind = self._writer.kind(is_.name, is_.kind, point)
        try:
            samples = self._writer.point(is_.name, kind, key, point, verbatim=is_.verbatim)
        except Untranslatable:
            self._skipped(untranslatable=1)
            return
        self._bytes += len(samples) + sum(len(name) + len(value) for name, value in is_.labels.items())
        if self._bytes > MAX_BYTES:
            raise TooManySeries
        self._empty_sums += is_.kind is Kind.HISTOGRAM and not point.count and bool(point.sum)
        unit = series.unit if is_.verbatim else unit_label(series.unit, self._wanted.config.unit_table)
        family = self._families.family(is_.name, kind, unit, series.description, series.first_seen)
        if put(family, key, (series.first_seen, series.series_id, samples)):
            self._skipped(duplicates=1)

    def finish(self) -> Exposition:
        """Everything in its order, without what is in conflict."""
        self._add_target_info()
        found = self._families.finished()
        self._skipped(conflicts=found.conflicts, duplicates=found.duplicates)
        return Exposition(found.families + self._about_itself(found.taken), self._left_out, self._writer)

    def _add_target_info(self) -> None:
        """One for each `job` and `instance`: that of the resource that appeared last."""
        newest: dict[tuple[tuple[str, str], ...], tuple[datetime, UUID]] = {}
        for id_ in self._live_resources:
            labels = self._translator.resource_of(id_)
            if labels is not None and labels.info is not None:
                key = tuple(sorted(labels.identity.items()))
                seen = (self.definitions.resources[id_].first_seen, id_)
                newest[key] = max(newest.get(key, seen), seen)
        for first_seen, id_ in sorted(newest.values()):
            found = self._translator.resource_of(id_)
            assert found is not None
            assert found.info is not None
            if self._is_wanted(_TARGET_INFO, Kind.INFO, found.info):
                pairs = self._writer.key(found.info)
                samples = self._writer.number(_TARGET_INFO, Kind.INFO, pairs, 1)
                family = self._families.family(_TARGET_INFO, Kind.INFO, "", "Target metadata", first_seen)
                if put(family, pairs, (first_seen, id_, samples)):
                    self._skipped(duplicates=1)

    def _about_itself(self, taken: Set[str]) -> list[Family]:
        """What the answer says about itself, unless a metric that was sent has the name."""
        told = (
            (_JOINED, _JOINED_HELP, {"": self._translator.joined}),
            (_LEFT_OUT, _LEFT_OUT_HELP, asdict(self._left_out)),
            (_EMPTY_SUMS, _EMPTY_SUMS_HELP, {"": self._empty_sums}),
        )
        made = [self._told(*what) for what in told if self._is_wanted(what[0], Kind.GAUGE, {})]
        escaping = self._wanted.format.escaping
        return [family for family in made if escape_metric_name(family.name, escaping) not in taken]

    def _told(self, name: str, description: str, counts: Mapping[str, int]) -> Family:
        """A number about this answer, as a metric of it; `counts` by reason, "" where there is none."""
        family = Family(name, Kind.GAUGE, "", description, datetime.min)
        for reason, count in counts.items():
            key = self._writer.key({"reason": reason} if reason else {})
            put(family, key, (datetime.min, UUID(int=0), self._writer.number(name, Kind.GAUGE, key, count)))
        return family

    def _skipped(self, **counts: int) -> None:
        self._left_out = self._left_out.plus(**counts)
