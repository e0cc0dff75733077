"""What a condition can read: for each context its paths, its enums and the functions that read them.

Names and meaning are those of the Collector's OTTL contexts (pkg/ottl/contexts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.processors.values import scalar


@dataclass(frozen=True, slots=True)
class Env:
    """What one evaluation looks at. `item` is the span, event, log record, metric or data point; `parent` the span of
    an event and the metric of a data point."""

    item: Any
    scope_group: Any
    group: Any
    parent: Any = None


Getter = Callable[[Env], Any]
"""Reads a value: str, int, float, bool, bytes, None, or the AnyValue of an array or a map. Attribute lists come as the
repeated field itself and must be indexed."""

METRIC_TYPES = {
    "METRIC_DATA_TYPE_NONE": 0,
    "METRIC_DATA_TYPE_GAUGE": 1,
    "METRIC_DATA_TYPE_SUM": 2,
    "METRIC_DATA_TYPE_HISTOGRAM": 3,
    "METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM": 4,
    "METRIC_DATA_TYPE_SUMMARY": 5,
}
_DATA_TYPES = {"gauge": 1, "sum": 2, "histogram": 3, "exponential_histogram": 4, "summary": 5}


@dataclass(frozen=True, slots=True)
class Context:
    """A kind of item that conditions can be about."""

    name: str
    paths: Mapping[str, Getter]
    """Values by path."""
    attributes: Mapping[str, Getter]
    """Attribute lists by path; they are used with a key: `attributes["k"]`."""
    enums: Mapping[str, int] = field(default_factory=dict)
    functions: frozenset[str] = frozenset({"IsMatch"})


def _field(name: str) -> Getter:
    return lambda env: getattr(env.item, name)


def _parent_field(name: str) -> Getter:
    return lambda env: getattr(env.parent, name)


def _hex(name: str) -> Getter:
    return lambda env: getattr(env.item, name).hex()


def _any(name: str) -> Getter:
    return lambda env: scalar(getattr(env.item, name))


_AROUND: dict[str, Getter] = {
    "resource.dropped_attributes_count": lambda env: env.group.resource.dropped_attributes_count,
    "resource.schema_url": lambda env: env.group.schema_url,
}
_AROUND_ATTRIBUTES: dict[str, Getter] = {"resource.attributes": lambda env: env.group.resource.attributes}
for _scope in ("scope", "instrumentation_scope"):
    _AROUND[f"{_scope}.name"] = lambda env: env.scope_group.scope.name
    _AROUND[f"{_scope}.version"] = lambda env: env.scope_group.scope.version
    _AROUND[f"{_scope}.schema_url"] = lambda env: env.scope_group.schema_url
    _AROUND_ATTRIBUTES[f"{_scope}.attributes"] = lambda env: env.scope_group.scope.attributes


def _context(
    name: str,
    paths: dict[str, Getter],
    attributes: dict[str, Getter],
    *,
    around: dict[str, Getter] | None = None,
    around_attributes: dict[str, Getter] | None = None,
    enums: dict[str, int] | None = None,
    functions: tuple[str, ...] = (),
) -> Context:
    """Own paths are there with and without the context's name in front, as in the Collector: `name`, `span.name`."""
    prefixed = {f"{name}.{path}": getter for path, getter in paths.items()}
    prefixed_attributes = {f"{name}.{path}": getter for path, getter in attributes.items()}
    return Context(
        name,
        {**paths, **prefixed, **(around or {}), **_AROUND},
        {**attributes, **prefixed_attributes, **(around_attributes or {}), **_AROUND_ATTRIBUTES},
        enums or {},
        frozenset({"IsMatch", *functions}),
    )


_OWN_ATTRIBUTES: dict[str, Getter] = {"attributes": lambda env: env.item.attributes}
_SPAN_FIELDS = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "kind",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "flags",
)
_SPAN_IDS = ("trace_id", "span_id", "parent_span_id")
_SPAN_ENUMS = {**dict(Span.SpanKind.items()), **dict(Status.StatusCode.items())}

SPAN = _context(
    "span",
    {
        **{name: _field(name) for name in _SPAN_FIELDS},
        **{f"{name}.string": _hex(name) for name in _SPAN_IDS},
        "status.code": lambda env: env.item.status.code,
        "status.message": lambda env: env.item.status.message,
    },
    _OWN_ATTRIBUTES,
    enums=_SPAN_ENUMS,
    functions=("IsRootSpan",),
)
SPAN_EVENT = _context(
    "spanevent",
    {name: _field(name) for name in ("name", "time_unix_nano", "dropped_attributes_count")},
    _OWN_ATTRIBUTES,
    around={
        **{f"span.{name}": _parent_field(name) for name in _SPAN_FIELDS},
        "span.trace_id.string": lambda env: env.parent.trace_id.hex(),
        "span.span_id.string": lambda env: env.parent.span_id.hex(),
        "span.parent_span_id.string": lambda env: env.parent.parent_span_id.hex(),
        "span.status.code": lambda env: env.parent.status.code,
        "span.status.message": lambda env: env.parent.status.message,
    },
    around_attributes={"span.attributes": lambda env: env.parent.attributes},
    enums=_SPAN_ENUMS,
)
_LOG_FIELDS = (
    "time_unix_nano",
    "observed_time_unix_nano",
    "severity_number",
    "severity_text",
    "event_name",
    "flags",
    "trace_id",
    "span_id",
    "dropped_attributes_count",
)
LOG_RECORD = _context(
    "log",
    {
        **{name: _field(name) for name in _LOG_FIELDS},
        "trace_id.string": _hex("trace_id"),
        "span_id.string": _hex("span_id"),
        "body": _any("body"),
    },
    _OWN_ATTRIBUTES,
    enums=dict(SeverityNumber.items()),
)


def _data(metric: Any, name: str) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(getattr(metric, kind), name, None) if kind else None


def _metric_paths(metric: Callable[[Env], Any]) -> dict[str, Getter]:
    return {
        "name": lambda env: metric(env).name,
        "description": lambda env: metric(env).description,
        "unit": lambda env: metric(env).unit,
        "type": lambda env: _DATA_TYPES.get(metric(env).WhichOneof("data") or "", 0),
        "aggregation_temporality": lambda env: _data(metric(env), "aggregation_temporality"),
        "is_monotonic": lambda env: _data(metric(env), "is_monotonic"),
    }


_METRIC_ENUMS = {**METRIC_TYPES, **dict(AggregationTemporality.items())}
METRIC = _context(
    "metric",
    _metric_paths(lambda env: env.item),
    {},
    enums=_METRIC_ENUMS,
    functions=("HasAttrKeyOnDatapoint", "HasAttrOnDatapoint"),
)


def _optional(name: str) -> Getter:
    """A field that only some kinds of points have."""
    return lambda env: getattr(env.item, name, None)


def _number(kind: str) -> Getter:
    def get(env: Env) -> Any:
        fields = env.item.DESCRIPTOR.fields_by_name
        return getattr(env.item, kind) if kind in fields and env.item.WhichOneof("value") == kind else None

    return get


DATA_POINT = _context(
    "datapoint",
    {
        **{name: _field(name) for name in ("start_time_unix_nano", "time_unix_nano", "flags")},
        **{name: _optional(name) for name in ("count", "sum", "scale", "zero_count")},
        "value_double": _number("as_double"),
        "value_int": _number("as_int"),
    },
    _OWN_ATTRIBUTES,
    around={f"metric.{path}": getter for path, getter in _metric_paths(lambda env: env.parent).items()},
    enums=_METRIC_ENUMS,
)
CONTEXTS = {context.name: context for context in (SPAN, SPAN_EVENT, LOG_RECORD, METRIC, DATA_POINT)}
