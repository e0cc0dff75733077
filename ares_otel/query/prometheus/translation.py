"""Stored series as the series that Prometheus has for them, by the options that are in force.

One stored series becomes one member for each kind of sample: a histogram has those of its buckets (whose `le` only its
points tell), its sum and its count. Names and labels are those of `/metrics/ingested`, see `query/translated.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from ares_otel.model.prometheus.config import Strategy, TranslationConfig
from ares_otel.model.prometheus.labels import NAME, Labels
from ares_otel.model.prometheus.values import any_value_text, attribute_text
from ares_otel.query.live_series import Definitions, Resource, Scope, Series
from ares_otel.query.totals import has_total
from ares_otel.query.translated import Translator
from ares_otel.storage.rows.restore_values import attributes

VERSION = 2
"""Of the rules here and below `model/prometheus`: another one makes the whole index anew, in the background."""
VALUE, DELTA, NATIVE, INFO, NONE = "value", "delta", "native", "info", "none"
BUCKET, SUM, COUNT, QUANTILE = "bucket", "sum", "count", "quantile"
"""Parts of a stored series, see `prometheus_series.part`."""
TARGET_INFO = "target_info"
SUFFIXES = {BUCKET: "_bucket", SUM: "_sum", COUNT: "_count"}
RESERVED = {BUCKET: "le", QUANTILE: "quantile"}
"""Labels that only samples have, by part."""
TYPES = ("counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown")
_PARTS = {
    "histogram": (BUCKET, SUM, COUNT),
    "summary": (QUANTILE, SUM, COUNT),
    "exponential_histogram": (NATIVE,),
}


@dataclass(frozen=True, slots=True)
class Member:
    """A series of Prometheus, but for its `le` or `quantile`."""

    series_id: UUID
    part: str
    kind: str
    labels: Labels
    """With `__name__`; empty where the series has no form in Prometheus."""
    resource_id: UUID | None
    first_seen: datetime
    verbatim: bool = False
    """Whether it came as Prometheus has it."""


def config_of(options: Mapping[str, Any]) -> TranslationConfig:
    """The options as they are stored. `promote_scope_metadata` is on unless it is said otherwise, as in
    `/metrics/ingested`: without it two scopes with one metric have the same labels.

    Raises:
        ValueError: an option that has no such value, or options that exclude each other; the message is a sentence.
    """
    names = {field.name for field in fields(TranslationConfig)}
    values: dict[str, Any] = {"promote_scope_metadata": True}
    for name, value in options.items():
        if name in names and value is not None:
            values[name] = tuple(value) if isinstance(value, list) else value
    if "translation_strategy" in values:
        values["translation_strategy"] = Strategy(values["translation_strategy"])
    return TranslationConfig(**values)


class Members:
    """Translates rows of the statement `definitions`."""

    def __init__(self, config: TranslationConfig, resources: Sequence[Any], scopes: Sequence[Any]) -> None:
        """
        Args:
            resources, scopes: rows of those that are referred to.
        """
        self._definitions = Definitions(
            {
                row["resource_id"]: Resource(_texts(row, "attributes"), row["first_seen"])
                for row in resources
                if not row["too_large"]
            },
            {
                row["scope_id"]: Scope(row["name"], row["version"], row["schema_url"], _texts(row, "attributes"))
                for row in scopes
                if not row["too_large"]
            },
        )
        self._translator = Translator(config, self._definitions)
        self._told: set[UUID] = set()

    def of(self, row: Any) -> list[Member]:
        """The members of a stored series, and once for each resource its `target_info`. The one member of a series
        without a form in Prometheus says why as its kind."""
        id_, resource_id, first_seen = row["series_id"], row["resource_id"], row["first_seen"]
        found = "untranslatable" if row["labels"] is None else self._translator.translated(_series(row))
        delta = has_total(row["metric_type"], row["temporality"])
        if isinstance(found, str):
            return [Member(id_, NONE, found, {}, resource_id, first_seen)]
        told = row["prometheus_type"] if found.verbatim and row["prometheus_type"] in TYPES else str(found.kind)
        made = []
        for part in _PARTS.get(row["metric_type"], (DELTA if delta else VALUE,)):
            labels = {key: value for key, value in found.labels.items() if value and key != RESERVED.get(part)}
            labels[NAME] = found.name + SUFFIXES.get(part, "")
            made.append(Member(id_, part, told, labels, resource_id, first_seen, found.verbatim))
        return made if found.verbatim or resource_id is None else made + self.target_info(resource_id)

    def target_info(self, resource_id: UUID) -> list[Member]:
        """The `target_info` of a resource, where there is one; once."""
        resource = self._translator.resource_of(resource_id)
        if resource is None or resource.info is None or resource_id in self._told:
            return []
        self._told.add(resource_id)
        labels = {**{key: value for key, value in resource.info.items() if value}, NAME: TARGET_INFO}
        first_seen = self._definitions.resources[resource_id].first_seen
        return [Member(resource_id, INFO, "gauge", labels, resource_id, first_seen)]


def _series(row: Any) -> Series:
    return Series(
        row["series_id"],
        row["metric_name"],
        row["metric_type"],
        row["unit"],
        "",
        row["temporality"],
        _texts(row, "labels"),
        row["resource_id"],
        row["scope_id"],
        row["service_name"],
        row["first_seen"],
        row["prometheus_type"] or "",
    )


def _texts(row: Any, column: str) -> dict[str, str]:
    """Attributes with their values as text. Of equal keys the last one counts, and NUL is U+FFFD, as in jsonb."""
    if row["attributes_raw"] is not None:
        pairs = attributes(None, row["attributes_raw"])
        return {_storable(pair.key): _storable(any_value_text(pair.value)) for pair in pairs}
    shown = row[column]
    return {key: attribute_text(value) for key, value in orjson.loads(shown).items()} if shown else {}


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")
