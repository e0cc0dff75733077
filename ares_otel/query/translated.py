"""Series under Prometheus's names and labels."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind, accumulated_kind, kind_of, verbatim_kind
from ares_otel.model.prometheus.labels import NAME, Labels, ResourceLabels, resource_labels, scope_labels, series_labels
from ares_otel.model.prometheus.metric_names import metric_name
from ares_otel.model.prometheus.type_and_unit import type_and_unit_labels
from ares_otel.model.prometheus.verbatim import is_verbatim
from ares_otel.query.live_series import Definitions, Series
from ares_otel.query.totals import has_total

_RESERVED = {Kind.HISTOGRAM: "le", Kind.SUMMARY: "quantile"}
"""Labels of the samples themselves: an attribute of that name gives way."""


@dataclass(frozen=True, slots=True)
class Translated:
    """What a series is in Prometheus; its labels are all but the name."""

    name: str
    kind: Kind
    labels: Labels
    verbatim: bool = False
    """Whether it came as it is, from a Prometheus or a page that was scraped."""


class Translator:
    """Names and labels of series whose resources and scopes are in `definitions`."""

    def __init__(self, config: TranslationConfig, definitions: Definitions) -> None:
        self._config = config
        self._definitions = definitions
        self._resources: dict[UUID, ResourceLabels | None] = {}
        self._scopes: dict[UUID, Labels | None] = {}
        self._names: dict[tuple[str, str, Kind], str | None] = {}
        self.joined = 0
        """Labels so far that stand for several attributes."""

    def translated(self, series: Series) -> Translated | str:
        """The series; or why Prometheus has no place for it: "deltas" or "untranslatable"."""
        if self._is_verbatim(series):
            return _verbatim(series)
        if has_total(series.metric_type, series.temporality):
            kind: Kind | None = accumulated_kind(series.metric_type)
        else:
            kind = kind_of(series.metric_type, series.temporality)
        if kind is None:
            return "deltas"
        key = (series.metric_name, series.unit, kind)
        if key not in self._names:
            try:
                self._names[key] = metric_name(series.metric_name, series.unit, kind, self._config)
            except Untranslatable:
                self._names[key] = None
        name, resource, scope = self._names[key], self.resource(series), self._scope(series)
        if name is None or resource is None or scope is None:
            return "untranslatable"
        try:
            made = series_labels(series.attributes, resource, scope, self._config)
        except Untranslatable:
            return "untranslatable"
        self.joined += made.collided
        if self._config.type_and_unit_labels:
            made.labels |= type_and_unit_labels(kind, series.unit, self._config.unit_table)
        if kind in _RESERVED:
            made.labels.pop(_RESERVED[kind], None)
        return Translated(name, kind, made.labels)

    def _is_verbatim(self, series: Series) -> bool:
        scope = None if series.scope_id is None else self._definitions.scopes.get(series.scope_id)
        return scope is not None and is_verbatim(scope.name)

    def resource(self, series: Series) -> ResourceLabels | None:
        """What its resource adds; None where that has no form in Prometheus."""
        if series.resource_id is None:  # inserted by SQL, which knows a service's name and nothing else
            return resource_labels({"service.name": series.service_name}, self._config)
        return self.resource_of(series.resource_id)

    def resource_of(self, id_: UUID) -> ResourceLabels | None:
        """What a resource adds; None where that has no form in Prometheus."""
        if id_ not in self._resources:
            found = self._definitions.resources.get(id_)
            try:
                made = None if found is None else resource_labels(found.attributes, self._config)
            except Untranslatable:
                made = None
            self._resources[id_] = made
        return self._resources[id_]

    def _scope(self, series: Series) -> Labels | None:
        if series.scope_id is None:
            return {}
        if series.scope_id not in self._scopes:
            self._scopes[series.scope_id] = self._made_scope(series.scope_id)
        return self._scopes[series.scope_id]

    def _made_scope(self, id_: UUID) -> Labels | None:
        found = self._definitions.scopes.get(id_)
        if found is None:
            return None
        try:
            return scope_labels(found.name, found.version, found.schema_url, found.attributes, self._config)
        except Untranslatable:
            return None


def _verbatim(series: Series) -> Translated | str:
    """Nothing is translated or added; Prometheus has no empty labels and no series without a name."""
    if not series.metric_name:
        return "untranslatable"
    kind = verbatim_kind(series.metric_name, series.metric_type, series.prometheus_type)
    left_out = (NAME, _RESERVED.get(kind, NAME))
    labels = {name: value for name, value in series.attributes.items() if name and value and name not in left_out}
    return Translated(series.metric_name, kind, labels, verbatim=True)
