"""Which series the spans of a request belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from ares_otel.connectors.points import Count, Example, Explicit, Exponential, Point
from ares_otel.connectors.series import Family, Group, Key, Series
from ares_otel.connectors.spanmetrics.config import ExplicitConfig, SpanMetricsConfig
from ares_otel.connectors.spanmetrics.dimensions import Dimensions, Found
from ares_otel.connectors.spanmetrics.labels import Labels
from ares_otel.connectors.spanmetrics.sampled import AdjustedCounts
from ares_otel.connectors.spans import is_valid, service_name, wanted_attributes

SLICE_SPANS = 1000
"""Spans that are counted before others may run."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A metric, and what its series differ in."""

    family: Family
    dimensions: Dimensions
    of_events: bool = False


class Book:
    """Counts spans."""

    def __init__(self, config: SpanMetricsConfig, writer: str) -> None:
        """
        Args:
            writer: tells this process's series from those of another one.
        """
        self._labels = Labels(config, writer)
        self._kinds = _kinds(config)
        self._names = Dimensions(
            [
                *config.dimensions,
                *config.calls_dimensions,
                *config.histogram.dimensions,
                *(config.events.dimensions if config.events.enabled else ()),
            ]
        ).wanted
        self._adjusted = AdjustedCounts()
        self._with_resource = config.add_resource_attributes
        self._key_attributes = frozenset(config.resource_metrics_key_attributes)
        self._factor = 1e6 if config.histogram.unit == "ms" else 1e9
        self._exemplars = config.exemplars.enabled
        self.series = Series(
            [kind.family for kind in self._kinds],
            self._labels.always,
            limit=config.aggregation_cardinality_limit,
            resources=config.resource_metrics_cache_size,
        )

    def add(self, request: Any, now_ns: int) -> Iterator[int]:
        """Counts the spans of a request, and gives after each slice how many of it were left out: those whose ids are
        invalid, which no OTLP store takes."""
        done = invalid = 0
        for resource_spans in request.resource_spans:
            resource = resource_spans.resource.attributes
            places = wanted_attributes(self._names, resource)
            service = service_name(resource)
            identity, kept = self._resource(resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    done += 1
                    if is_valid(span):
                        group = self.series.group(identity, kept, now_ns)
                        self._count(group, service, places, scope_spans.scope, span, now_ns)
                    else:
                        invalid += 1
                    if done % SLICE_SPANS == 0:
                        yield invalid
                        invalid = 0
        yield invalid

    def _resource(self, attributes: Any) -> tuple[bytes, list[KeyValue]]:
        if not self._with_resource:
            return b"", []
        kept = sorted(
            (one for one in attributes if not self._key_attributes or one.key in self._key_attributes),
            key=lambda one: one.key,
        )
        return b"".join(one.SerializeToString(deterministic=True) for one in kept), kept

    def _count(self, group: Group, service: str, resource: Found, scope: Any, span: Any, now_ns: int) -> None:
        nanoseconds = span.end_time_unix_nano - span.start_time_unix_nano
        duration = nanoseconds / self._factor if nanoseconds > 0 else 0.0
        example = Example(span.trace_id, span.span_id, duration, now_ns) if self._exemplars else None
        times, extrapolated = self._adjusted.of(span.trace_state)
        base = self._labels.base(service, scope, span, extrapolated=extrapolated)
        own = wanted_attributes(self._names, span.attributes)
        note = self.series.note
        dimensions: Dimensions | None = None
        for kind in self._kinds:
            if kind.of_events:
                for event in span.events:
                    inside = wanted_attributes(self._names, event.attributes)
                    key, attributes = self._series(base, kind, own, inside, resource)
                    note(group, kind.family, key, attributes, duration, now_ns, example, times=times)
                continue
            if kind.dimensions is not dimensions:  # mostly both metrics have the same
                key, attributes = self._series(base, kind, own, resource)
                dimensions = kind.dimensions
            note(group, kind.family, key, attributes, duration, now_ns, example, times=times)

    def _series(self, base: Key, kind: _Kind, *places: Found) -> tuple[Key, Callable[[], list[KeyValue]]]:
        """What tells a series apart, and how its attributes are made."""
        found = kind.dimensions.find(*places) if kind.dimensions else []
        key = base + kind.dimensions.key(found) if found else base
        return key, partial(self._labels.attributes, base, found)


def _kinds(config: SpanMetricsConfig) -> list[_Kind]:
    examples = config.exemplars.max_per_data_point if config.exemplars.enabled else 0
    histogram, prefix = config.histogram, f"{config.namespace}." if config.namespace else ""

    def count(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        return Count(attributes, now_ns, examples)

    def durations(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        if histogram.exponential is not None:
            return Exponential(attributes, now_ns, examples, histogram.exponential.max_size)
        return Explicit(attributes, now_ns, examples, bounds)

    seconds = (histogram.explicit or ExplicitConfig()).buckets
    bounds = [round(one * 1e9) / (1e6 if histogram.unit == "ms" else 1e9) for one in seconds]
    of_calls = (*config.dimensions, *config.calls_dimensions)
    of_durations = (*config.dimensions, *histogram.dimensions)
    calls = Dimensions(of_calls)
    made = [_Kind(Family(f"{prefix}calls", "", count), calls)]
    if not histogram.disable:
        family = Family(f"{prefix}duration", histogram.unit, durations)
        made.append(_Kind(family, calls if of_calls == of_durations else Dimensions(of_durations)))
    if config.events.enabled:
        dimensions = (*config.dimensions, *config.events.dimensions)
        made.append(_Kind(Family(f"{prefix}events", "", count), Dimensions(dimensions), of_events=True))
    return made
