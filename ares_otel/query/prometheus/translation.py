"""Stored series as Prometheus has them: name, labels and type, by the options that are in force.

One stored series becomes one member for each series that Prometheus has of it: a histogram those for its buckets (whose
`le` only its points tell), its sum and its count. What came as Prometheus has it is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from ares_otel.model.prometheus.config import Strategy, TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind, kind_of
from ares_otel.model.prometheus.labels import (
    NAME,
    Labels,
    ResourceLabels,
    resource_labels,
    scope_labels,
    series_labels,
)
from ares_otel.model.prometheus.metric_names import metric_name
from ares_otel.model.prometheus.values import any_value_text, attribute_text
from ares_otel.model.prometheus.verbatim import is_verbatim
from ares_otel.storage.rows.restore_values import attributes

VERSION = 1
"""Of the rules here and below `model/prometheus`: another one makes the whole index anew, in the background."""
VALUE, BUCKET, SUM, COUNT, QUANTILE, NATIVE, INFO, NONE = (
    "value",
    "bucket",
    "sum",
    "count",
    "quantile",
    "native",
    "info",
    "none",
)
"""Parts of a stored series, see `prometheus_series.part`."""
DELTAS, UNTRANSLATABLE = "deltas", "untranslatable"
"""Why a series has no form in Prometheus."""
TARGET_INFO = "target_info"
_SUFFIXES = {BUCKET: "_bucket", SUM: "_sum", COUNT: "_count"}
_PARTS = {
    "histogram": (BUCKET, SUM, COUNT),
    "summary": (QUANTILE, SUM, COUNT),
    "exponential_histogram": (NATIVE,),
}
RESERVED = {BUCKET: "le", QUANTILE: "quantile"}
"""Labels of the samples themselves, by part: an attribute of that name gives way."""
TYPES = ("counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown")


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


def config_of(options: Mapping[str, Any]) -> TranslationConfig:
    """The options as they are stored. `promote_scope_metadata` is on unless it is said otherwise, as in
    `/metrics/ingested`: without it two scopes with one metric have the same labels.

    Raises:
        ValueError: an option that has no such value, or options that exclude each other; the message is a sentence.
    """
    names = {field.name for field in fields(TranslationConfig)}
    known = {name: value for name, value in options.items() if name in names and value is not None}
    values: dict[str, Any] = {"promote_scope_metadata": True, **known}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    if "translation_strategy" in values:
        values["translation_strategy"] = Strategy(values["translation_strategy"])
    return TranslationConfig(**values)


class Translator:
    """Translates rows of `missing`, with the resources and scopes that they refer to."""

    def __init__(self, config: TranslationConfig, resources: Sequence[Any], scopes: Sequence[Any]) -> None:
        """
        Args:
            resources: rows of `resources`.
            scopes: rows of `scopes`.
        """
        self._config = config
        self._resources: dict[UUID, ResourceLabels | None] = {row["resource_id"]: self._resource(row) for row in resources}
        self._scopes = {row["scope_id"]: row for row in scopes}
        self._scope_labels = {row["scope_id"]: self._scope(row) for row in scopes}
        self._first_seen = {row["resource_id"]: row["first_seen"] for row in resources}
        self._names: dict[tuple[str, str, Kind], str | None] = {}
        self._told: set[UUID] = set()

    def members(self, row: Any) -> list[Member]:
        """The members of a stored series, and once for each resource its `target_info`."""
        id_, resource_id, first_seen = row["series_id"], row["resource_id"], row["first_seen"]
        verbatim = row["scope_id"] in self._scopes and is_verbatim(self._scopes[row["scope_id"]]["name"])
        kind = kind_of(row["metric_type"], row["temporality"])
        if kind is None:
            return [Member(id_, NONE, DELTAS, {}, resource_id, first_seen)]
        translated = None
        if row["labels"] is not None:
            translated = self._verbatim(row) if verbatim else self._translated(row, kind)
        if translated is None:
            return [Member(id_, NONE, UNTRANSLATABLE, {}, resource_id, first_seen)]
        name, labels = translated
        told = _told_type(row, kind) if verbatim else str(kind)
        made = []
        for part in _PARTS.get(row["metric_type"], (VALUE,)):
            own = {key: value for key, value in labels.items() if key != RESERVED.get(part)}
            own[NAME] = name + _SUFFIXES.get(part, "")
            made.append(Member(id_, part, told, own, resource_id, first_seen))
        if not verbatim:
            made += self.target_info(resource_id)
        return made

    def _verbatim(self, row: Any) -> tuple[str, Labels] | None:
        labels = {key: value for key, value in _texts(row, "labels").items() if value and key != NAME}
        return (row["metric_name"], labels) if row["metric_name"] else None

    def _translated(self, row: Any, kind: Kind) -> tuple[str, Labels] | None:
        key = (row["metric_name"], row["unit"], kind)
        if key not in self._names:
            try:
                self._names[key] = metric_name(*key, self._config)
            except Untranslatable:
                self._names[key] = None
        name = self._names[key]
        if row["resource_id"] is None:  # inserted by SQL, which knows a service's name and nothing else
            resource: ResourceLabels | None = resource_labels({"service.name": row["service_name"]}, self._config)
        else:
            resource = self._resources.get(row["resource_id"])
        scope = {} if row["scope_id"] is None else self._scope_labels.get(row["scope_id"])
        if name is None or resource is None or scope is None:
            return None
        try:
            labels = series_labels(_texts(row, "labels"), resource, scope, self._config).labels
        except Untranslatable:
            return None
        return name, {key: value for key, value in labels.items() if value}

    def target_info(self, resource_id: UUID | None) -> list[Member]:
        """The `target_info` of a resource, once."""
        resource = None if resource_id is None else self._resources.get(resource_id)
        if resource_id is None or resource is None or resource.info is None or resource_id in self._told:
            return []
        self._told.add(resource_id)
        labels = {**{key: value for key, value in resource.info.items() if value}, NAME: TARGET_INFO}
        return [Member(resource_id, INFO, "gauge", labels, resource_id, self._first_seen[resource_id])]

    def _resource(self, row: Any) -> ResourceLabels | None:
        if row["too_large"]:
            return None
        try:
            return resource_labels(_texts(row, "attributes"), self._config)
        except Untranslatable:
            return None

    def _scope(self, row: Any) -> Labels | None:
        if row["too_large"]:
            return None
        try:
            return scope_labels(
                row["name"], row["version"], row["schema_url"], _texts(row, "attributes"), self._config
            )
        except Untranslatable:
            return None


def _texts(row: Any, column: str) -> dict[str, str]:
    """Attributes with their values as text; where a key occurs twice, the last one counts. NUL is U+FFFD, as in jsonb."""
    if row["attributes_raw"] is not None:
        pairs = attributes(None, row["attributes_raw"])
        return {_storable(pair.key): _storable(any_value_text(pair.value)) for pair in pairs}
    shown = row[column]
    return {key: attribute_text(value) for key, value in orjson.loads(shown).items()} if shown else {}


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _told_type(row: Any, kind: Kind) -> str:
    """What the sender called the metric's type."""
    told = row["told_type"]
    return told if told in TYPES else str(kind)
