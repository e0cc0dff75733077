"""Metric series that have a value now, some at a time: what identifies them, and their newest point.

A series is live when its newest point is at most `STALENESS` old and has a value, as in Prometheus. The newest point is
found by the index of each series and time, in the partitions that the window touches: no partition is read whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from ares_otel.model.prometheus.points import is_stale
from ares_otel.model.prometheus.values import any_value_text, attribute_text
from ares_otel.model.prometheus.verbatim import UNKNOWN, family_names
from ares_otel.query.reader import Reader, reading
from ares_otel.query.statements import load_statements
from ares_otel.query.totals import cumulative_point, has_total, totals_of
from ares_otel.storage.rows.restore_metrics import point_of
from ares_otel.storage.rows.restore_values import attributes

STALENESS = timedelta(minutes=5)
PAGE = 500
"""Series that are looked at together."""
MAX_SERIES_BYTES = 64 * 1024
"""A series, resource or scope whose attributes are larger is left out, and a point whose buckets are: no scraper takes
such labels, or thousands of buckets."""
_DESCRIPTION = 1000
_NUMBERS = ("gauge", "counter", "updowncounter")
_SQL = load_statements("live_series.sql")


@dataclass(frozen=True, slots=True)
class Resource:
    attributes: Mapping[str, str]
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    name: str
    version: str
    schema_url: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """What identifies a series, attribute values as text."""

    series_id: UUID
    metric_name: str
    metric_type: str
    unit: str
    description: str
    temporality: str | None
    attributes: Mapping[str, str]
    resource_id: UUID | None
    """A key of `Definitions.resources`, for those that came by OTLP."""
    scope_id: UUID | None
    service_name: str
    first_seen: datetime
    prometheus_type: str = ""
    """The type in Prometheus's words, of those that came from one; see `verbatim`. Where it was not told with the
    series, it is what was told apart from it, as are unit and description."""


@dataclass(slots=True)
class Definitions:
    """Resources and scopes that were met so far."""

    resources: dict[UUID, Resource] = field(default_factory=dict)
    scopes: dict[UUID, Scope] = field(default_factory=dict)
    characters: int = 0
    """Of all their texts, about."""


@dataclass(slots=True)
class LivePage:
    points: list[tuple[Series, Any]]
    """Series with their newest point of OTLP, which has no attributes."""
    too_large: int = 0
    """Series that were left out for the size of their attributes or of their point."""
    not_added_up: int = 0
    """Series of deltas that have no total yet: their first points came a moment ago."""


async def live_series(
    pool: asyncpg.Pool,
    definitions: Definitions,
    choose: Callable[[Sequence[Series]], Sequence[Series]],
    *,
    own: str,
    buckets: bool = False,
    now: datetime | None = None,
) -> AsyncIterator[LivePage]:
    """All live series, in the order of their ids.

    Args:
        definitions: filled before `choose` is asked about what refers to them.
        choose: those of a page that are wanted; only of these a point is looked for. Called in a thread.
        own: series of this service are left out.
        buckets: whether exponential histograms come with their buckets.

    Raises:
        DatabaseUnavailable, QueryTooSlow: see `reader`.
    """
    now = now or datetime.now(UTC)
    window = {"lower": now - STALENESS, "upper": now}
    after: UUID | None = None
    more: dict[str, dict[str, Any]] = {"numbers": {}, "distributions": {"buckets": buckets}}
    async with reading(pool, heavy=True) as reader:
        while True:
            rows = await reader.fetch(
                _SQL["series"], own=own, after=after, limit=PAGE, description=_DESCRIPTION, max_bytes=MAX_SERIES_BYTES
            )
            small = [row for row in rows if row["labels"] is not None]
            await _define(reader, definitions, small)
            told = await _told(reader, small)
            wanted = await asyncio.to_thread(_chosen, small, told, choose)
            found: dict[UUID, Any] = {}
            async with reader.snapshot():  # a total with a delta that came since would be told at an older time
                for name, ids in _by_table(wanted).items():
                    if ids:
                        for row in await reader.fetch(
                            _SQL[name], ids=ids, max_bytes=MAX_SERIES_BYTES, **window, **more[name]
                        ):
                            found[row["series_id"]] = row
                large = _without_large(found)
                points = await asyncio.to_thread(_points, wanted, found)
                deltas = [series.series_id for series, _ in points if has_total(series.metric_type, series.temporality)]
                totals = {}
                if deltas:
                    totals = await totals_of(reader, deltas, buckets=buckets, max_bytes=MAX_SERIES_BYTES)
            not_added_up = len(deltas) - len(totals)
            large += _without_large(totals)
            if deltas:
                points = await asyncio.to_thread(_cumulative, points, totals)
            yield LivePage(points, len(rows) - len(small) + large, not_added_up)
            if len(rows) < PAGE:
                return
            after = rows[-1]["series_id"]


async def _define(reader: Reader, definitions: Definitions, rows: Sequence[Any]) -> None:
    missing = {row["resource_id"] for row in rows} - {None, *definitions.resources}
    if missing:
        for row in await reader.fetch(_SQL["resources"], ids=list(missing), max_bytes=MAX_SERIES_BYTES):
            definitions.resources[row["resource_id"]] = Resource(_texts(row, "attributes"), row["first_seen"])
            definitions.characters += len(row["attributes"] or "")
    missing = {row["scope_id"] for row in rows} - {None, *definitions.scopes}
    if missing:
        for row in await reader.fetch(_SQL["scopes"], ids=list(missing), max_bytes=MAX_SERIES_BYTES):
            definitions.scopes[row["scope_id"]] = Scope(
                row["name"], row["version"], row["schema_url"], _texts(row, "attributes")
            )
            definitions.characters += len(row["attributes"])


async def _told(reader: Reader, rows: Sequence[Any]) -> dict[str, Any]:
    """What a Prometheus told of metrics apart from their samples, by the name of the family."""
    names = {name for row in rows if row["prometheus_type"] for name in family_names(row["metric_name"])}
    if not names:
        return {}
    found = await reader.fetch(_SQL["told"], names=list(names), description=_DESCRIPTION)
    return {row["metric_name"]: row for row in found}


def _chosen(
    rows: Sequence[Any], told: Mapping[str, Any], choose: Callable[[Sequence[Series]], Sequence[Series]]
) -> Sequence[Series]:
    return choose([_series(row, told) for row in rows])


def _series(row: Any, told: Mapping[str, Any]) -> Series:
    type_, unit, description = row["prometheus_type"] or "", row["unit"], row["description"]
    names = family_names(row["metric_name"]) if type_ else ()
    if (said := next((told[name] for name in names if name in told), None)) is not None:
        type_ = said["type"] if type_ == UNKNOWN else type_
        unit, description = unit or said["unit"], description or said["help"]
    return Series(
        row["series_id"],
        row["metric_name"],
        row["metric_type"],
        unit,
        description,
        row["temporality"],
        _texts(row, "labels"),
        row["resource_id"],
        row["scope_id"],
        row["service_name"],
        row["first_seen"],
        type_,
    )


def _texts(row: Any, column: str) -> dict[str, str]:
    """Attributes with their values as text; where a key occurs twice, the last one counts."""
    if row["attributes_raw"] is not None:
        return {pair.key: any_value_text(pair.value) for pair in attributes(None, row["attributes_raw"])}
    shown = row[column]
    return {key: attribute_text(value) for key, value in orjson.loads(shown).items()} if shown else {}


def _by_table(wanted: Sequence[Series]) -> dict[str, list[UUID]]:
    numbers = [series.series_id for series in wanted if series.metric_type in _NUMBERS]
    others = [series.series_id for series in wanted if series.metric_type not in _NUMBERS]
    return {"numbers": numbers, "distributions": others}


def _without_large(rows: dict[UUID, Any]) -> int:
    """Removes what is too large; returns how many."""
    large = [id_ for id_, row in rows.items() if row["too_large"]]
    for id_ in large:
        del rows[id_]
    return len(large)


def _cumulative(points: list[tuple[Series, Any]], totals: Mapping[UUID, Any]) -> list[tuple[Series, Any]]:
    """Points with totals in place of deltas; without deltas that have none."""
    made = []
    for series, point in points:
        if not has_total(series.metric_type, series.temporality):
            made.append((series, point))
        elif (total := totals.get(series.series_id)) is not None:
            made.append((series, cumulative_point(point, total)))
    return made


def _points(wanted: Sequence[Series], found: Mapping[UUID, Any]) -> list[tuple[Series, Any]]:
    made = []
    for series in wanted:
        row = found.get(series.series_id)
        if row is None:
            continue
        point = point_of(row, series.metric_type)
        if not is_stale(point):
            made.append((series, point))
    return made
