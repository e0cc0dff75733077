"""All series of a connector: which there are, what was counted for each, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ares_otel.connectors.spanmetrics.config import Dimension, ExplicitConfig, SpanMetricsConfig
from ares_otel.connectors.spanmetrics.labels import (
    UNKNOWN_SERVICE,
    Found,
    Key,
    Labels,
    find,
    key_of,
    wanted_attributes,
)
from ares_otel.connectors.spanmetrics.points import Count, Example, Explicit, Exponential, Point

MAX_SERIES = 100_000
"""Series of all metrics and resources; what comes beyond is counted as overflow."""
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of the texts that tell the series apart; likewise."""
SLICE_SPANS = 1000
"""Spans that are counted before others may run."""

_OVERFLOW: Key = ("overflow",)
_NO_ID = (b"", bytes(8), bytes(16))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    unit: str
    make: Callable[[Sequence[KeyValue], int], Point]
    """A new series, from its attributes and the time."""
    dimensions: Sequence[Dimension]
    of_events: bool = False


@dataclass(slots=True)
class Group:
    """The series of one resource."""

    attributes: Sequence[KeyValue]
    series: dict[str, dict[Key, Point]]
    """By the family's name."""
    last_ns: int = 0


class Book:
    """Counts spans."""

    def __init__(self, config: SpanMetricsConfig, writer: str) -> None:
        """
        Args:
            writer: tells this process's series from those of another one.
        """
        self._config = config
        self._labels = Labels(config, writer)
        self.families = _families(config)
        self.groups: dict[bytes, Group] = {}
        self._names = frozenset(one.name for family in self.families for one in family.dimensions)
        self._key_attributes = frozenset(config.resource_metrics_key_attributes)
        self._factor = 1e6 if config.histogram.unit == "ms" else 1e9
        self._total = 0
        self._total_bytes = 0

    def __len__(self) -> int:
        return self._total

    def add(self, request: Any, now_ns: int) -> Iterator[int]:
        """Counts the spans of a request, and gives after each slice how many of it were left out: those whose ids are
        invalid, which no OTLP store takes."""
        done = invalid = 0
        for resource_spans in request.resource_spans:
            resource = resource_spans.resource.attributes
            places = wanted_attributes(self._names, resource)
            service = next((_text(one.value) for one in resource if one.key == "service.name"), "") or UNKNOWN_SERVICE
            identity, kept = self._resource(resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    done += 1
                    if _is_valid(span):
                        group = self._group(identity, kept)
                        group.last_ns = now_ns
                        self._count(group, service, places, scope_spans.scope, span, now_ns)
                    else:
                        invalid += 1
                    if done % SLICE_SPANS == 0:
                        yield invalid
                        invalid = 0
        yield invalid

    def _resource(self, attributes: Any) -> tuple[bytes, list[KeyValue]]:
        if not self._config.add_resource_attributes:
            return b"", []
        kept = sorted(
            (one for one in attributes if not self._key_attributes or one.key in self._key_attributes),
            key=lambda one: one.key,
        )
        return b"".join(one.SerializeToString(deterministic=True) for one in kept), kept

    def _group(self, identity: bytes, attributes: list[KeyValue]) -> Group:
        group = self.groups.get(identity)
        if group is None:
            # Between two hand-overs there may be more resources than are kept; and then they share one.
            if len(self.groups) >= 2 * self._config.resource_metrics_cache_size or self._is_full:
                identity, attributes = _OVERFLOW_RESOURCE, self._labels.overflow()
                group = self.groups.get(identity)
            if group is None:
                copies = [KeyValue.FromString(one.SerializeToString()) for one in attributes]
                group = self.groups[identity] = Group(copies, {family.name: {} for family in self.families})
        return group

    @property
    def _is_full(self) -> bool:
        return self._total >= MAX_SERIES or self._total_bytes >= MAX_BYTES

    def _count(self, group: Group, service: str, resource: Found, scope: Any, span: Any, now_ns: int) -> None:
        nanoseconds = span.end_time_unix_nano - span.start_time_unix_nano
        duration = nanoseconds / self._factor if nanoseconds > 0 else 0.0
        base = self._labels.base(service, scope, span)
        own = wanted_attributes(self._names, span.attributes)
        for family in self.families:
            if not family.of_events:
                values = find(family.dimensions, own, resource)
                self._note(group, family, base, values, span, duration, now_ns)
                continue
            for event in span.events:
                inside = wanted_attributes(self._names, event.attributes)
                values = find(family.dimensions, inside, own, resource)
                self._note(group, family, base, values, span, duration, now_ns)

    def _note(
        self,
        group: Group,
        family: Family,
        base: Key,
        values: list[AnyValue | None],
        span: Any,
        duration: float,
        now_ns: int,
    ) -> None:
        key = base + key_of(values) if values else base
        series = group.series[family.name]
        point = series.get(key)
        if point is None:
            limit = self._config.aggregation_cardinality_limit
            if (limit and len(series) - (_OVERFLOW in series) >= limit) or self._is_full:
                key = _OVERFLOW
                point = series.get(key)
            if point is None:
                overflow = key is _OVERFLOW
                attributes = (
                    self._labels.overflow()
                    if overflow
                    else self._labels.attributes(base, zip(family.dimensions, values, strict=True))
                )
                point = series[key] = family.make(attributes, now_ns)
                self._total += 1
                self._total_bytes += _size(key)
        point.last_ns = now_ns
        point.add(duration)
        if point.examples is not None:
            point.examples.append(Example(span.trace_id, span.span_id, duration, now_ns))

    def listed(self) -> list[tuple[Group, Family, Key, Point]]:
        """All series now, resource by resource and metric by metric."""
        return [
            (group, family, key, point)
            for group in self.groups.values()
            for family in self.families
            for key, point in group.series[family.name].items()
        ]

    def take(self, group: Group, family: Family, key: Key) -> None:
        """Forgets a series: it was handed over as a delta, or it is too old."""
        del group.series[family.name][key]
        self._total -= 1
        self._total_bytes -= _size(key)

    def forget(self, flushed_ns: int) -> None:
        """Forgets what nobody wants any more, of that which was handed over at that time: what expired, and resources
        beyond their limit."""
        config = self._config
        if config.series_expiration:
            oldest = flushed_ns - int(config.series_expiration * 1e9)
            for group, family, key, point in self.listed():
                if point.last_ns <= oldest:
                    self.take(group, family, key)
        oldest = flushed_ns - int(config.metrics_expiration * 1e9) if config.metrics_expiration else 0
        for identity, group in list(self.groups.items()):
            if group.last_ns <= oldest or not any(group.series.values()):
                self._drop(identity, group)
        beyond = len(self.groups) - config.resource_metrics_cache_size
        if beyond > 0:
            settled = [item for item in self.groups.items() if item[1].last_ns < flushed_ns]
            for identity, group in sorted(settled, key=lambda item: item[1].last_ns)[:beyond]:
                self._drop(identity, group)

    def _drop(self, identity: bytes, group: Group) -> None:
        for family in self.families:
            for key in list(group.series[family.name]):
                self.take(group, family, key)
        del self.groups[identity]


_OVERFLOW_RESOURCE = b"overflow"


def _families(config: SpanMetricsConfig) -> list[Family]:
    examples = config.exemplars.max_per_data_point if config.exemplars.enabled else 0
    histogram, prefix = config.histogram, f"{config.namespace}." if config.namespace else ""

    def count(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        return Count(attributes, now_ns, examples)

    def durations(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        if histogram.exponential is not None:
            return Exponential(attributes, now_ns, examples, histogram.exponential.max_size)
        return Explicit(attributes, now_ns, examples, bounds)

    bounds = _bounds(config)
    made = [Family(f"{prefix}calls", "", count, (*config.dimensions, *config.calls_dimensions))]
    if not histogram.disable:
        dimensions = (*config.dimensions, *histogram.dimensions)
        made.append(Family(f"{prefix}duration", histogram.unit, durations, dimensions))
    if config.events.enabled:
        dimensions = (*config.dimensions, *config.events.dimensions)
        made.append(Family(f"{prefix}events", "", count, dimensions, of_events=True))
    return made


def _bounds(config: SpanMetricsConfig) -> list[float]:
    """The bounds in the histogram's unit."""
    seconds = (config.histogram.explicit or ExplicitConfig()).buckets
    return [round(one * 1e9) / (1e6 if config.histogram.unit == "ms" else 1e9) for one in seconds]


def _is_valid(span: Any) -> bool:
    """By the rules of trace.proto: ids of 16 and 8 bytes, not all zero."""
    trace_id, span_id, parent = span.trace_id, span.span_id, span.parent_span_id
    return (
        len(trace_id) == 16
        and trace_id not in _NO_ID
        and len(span_id) == 8
        and span_id not in _NO_ID
        and len(parent) in (0, 8)
    )


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return value.string_value if kind == "string_value" else "" if kind is None else str(getattr(value, kind))


def _size(key: Key) -> int:
    return sum(len(part) for part in key if isinstance(part, str | bytes))
