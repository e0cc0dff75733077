"""Options of the `spanmetrics` connector, under the names of the Collector's.

Source: opentelemetry-collector-contrib, connector/spanmetricsconnector, README and config.schema.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ares_otel.connectors.elsewhere import refuse
from ares_otel.connectors.spanmetrics.globs import Globs
from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.duration import Duration

SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE = "service.name", "span.name", "span.kind", "status.code"
INSTANCE_ID = "collector.instance.id"
SCOPE_NAME, SCOPE_VERSION = "span.instrumentation.scope.name", "span.instrumentation.scope.version"
SAMPLING_METHOD = "sampling.method"
BUILT_IN = (SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE, INSTANCE_ID, SCOPE_NAME, SCOPE_VERSION)
"""Dimensions that series have by themselves."""
BuiltIn = Literal["service.name", "span.name", "span.kind", "status.code", "collector.instance.id"]
DEFAULT_BUCKETS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0)
"""Seconds; the Collector's."""
_DIMENSIONS = 50
_ELSEWHERE = {
    "dimensions_cache_size": "there is no such cache; aggregation_cardinality_limit bounds the series",
    "metric_timestamp_cache_size": "there is no such cache: deltas begin where the last ones ended; leave it out",
}


class Dimension(ComponentConfig):
    """One more dimension, or with `glob` several."""

    name: str = Field(
        default="", max_length=255, description="Attribute of the span; where it has none, of its resource."
    )
    glob: str = Field(
        default="",
        max_length=255,
        description="Instead of `name`: all attributes that it matches. `*` is anything but a dot, `**` anything:"
        " `k8s.*.name`.",
    )
    default: str | None = Field(
        default=None, description="Value where there is no such attribute; without one the dimension is left out then."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.name) == bool(self.glob):
            raise ValueError("a dimension has either a name or a glob")
        if self.glob:
            Globs([self.glob])
            if self.default is not None:
                raise ValueError(f"the glob {self.glob!r} cannot have a default; only a name can")
        return self


class ExplicitConfig(ComponentConfig):
    """`histogram.explicit`: buckets with fixed bounds."""

    buckets: list[Duration] = Field(
        default=list(DEFAULT_BUCKETS),
        min_length=1,
        max_length=200,
        description="Upper bounds, rising: [2ms, 10ms, 1s].",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if any(low >= high for low, high in pairwise(self.buckets)):
            raise ValueError("buckets must rise: each bound above the one before")
        return self


class ExponentialConfig(ComponentConfig):
    """`histogram.exponential`: buckets that follow the data."""

    max_size: int = Field(default=160, ge=2, le=1000, description="Buckets at most; with fewer, each is wider.")


class HistogramConfig(ComponentConfig):
    """`histogram`: how durations are recorded."""

    disable: bool = Field(default=False, description="Whether there is no `duration` at all.")
    unit: Literal["ms", "s"] = Field(default="ms", description="Unit of the durations.")
    explicit: ExplicitConfig | None = Field(default=None, description="Fixed bounds; used when nothing is said.")
    exponential: ExponentialConfig | None = Field(default=None, description="Instead of `explicit`.")
    dimensions: list[Dimension] = Field(
        default=[], max_length=_DIMENSIONS, description="Dimensions of `duration` only, beside the common ones."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.explicit is not None and self.exponential is not None:
            raise ValueError("use either explicit or exponential, not both")
        return self


class ExemplarsConfig(ComponentConfig):
    """`exemplars`: spans that stand behind a data point."""

    enabled: bool = Field(default=False, description="Whether data points name spans.")
    max_per_data_point: int = Field(
        default=5, ge=0, le=1000, description="Spans that a data point names; the latest are kept."
    )


class EventsConfig(ComponentConfig):
    """`events`: how often spans have events."""

    enabled: bool = Field(default=False, description="Whether there is a metric `events`.")
    dimensions: list[Dimension] = Field(
        default=[],
        max_length=_DIMENSIONS,
        description="Attributes of the event, beside the common dimensions; at least one when enabled.",
    )

    @model_validator(mode="after")
    def _dimensions_are_named(self) -> Self:
        if self.enabled and not self.dimensions:
            raise ValueError("events needs dimensions, for example [{name: exception.type}]")
        return self


class SpanMetricsConfig(ComponentConfig):
    """Options of the `spanmetrics` connector."""

    namespace: str = Field(
        default="traces.span.metrics",
        max_length=200,
        description="Begins the names of the metrics: `<namespace>.calls`; empty for `calls` alone.",
    )
    histogram: HistogramConfig = Field(default=HistogramConfig(), description="How durations are recorded.")
    dimensions: list[Dimension] = Field(
        default=[], max_length=_DIMENSIONS, description="Dimensions of all metrics beside the built-in ones."
    )
    calls_dimensions: list[Dimension] = Field(
        default=[], max_length=_DIMENSIONS, description="Dimensions of `calls` only, beside the common ones."
    )
    exclude_dimensions: list[BuiltIn] = Field(default=[], description="Built-in dimensions that are left out.")
    include_instrumentation_scope: list[str] = Field(
        default=[],
        max_length=1000,
        description="Scopes whose name and version become `span.instrumentation.scope.name` and `.version`.",
    )
    exemplars: ExemplarsConfig = Field(default=ExemplarsConfig(), description="Spans that stand behind a data point.")
    events: EventsConfig = Field(default=EventsConfig(), description="How often spans have events.")
    aggregation_temporality: Literal["AGGREGATION_TEMPORALITY_CUMULATIVE", "AGGREGATION_TEMPORALITY_DELTA"] = Field(
        default="AGGREGATION_TEMPORALITY_CUMULATIVE",
        description="Whether a data point counts since the start or since the one before.",
    )
    metrics_flush_interval: Duration = Field(
        default=60.0, ge=0.1, description="Time between two hand-overs of data points."
    )
    metrics_expiration: Duration = Field(
        default=0.0, description="A resource without spans for so long is forgotten; 0 for never. Cumulative only."
    )
    series_expiration: Duration = Field(
        default=0.0, description="A series without spans for so long is forgotten; 0 for never. Cumulative only."
    )
    aggregation_cardinality_limit: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Series of a metric in a resource; spans beyond are counted in one series with"
        " `otel.metric.overflow`. 0 for only Ares's own limit, 50,000 series of all.",
    )
    resource_metrics_key_attributes: list[str] = Field(
        default=[],
        max_length=100,
        description="Resource attributes that tell resources apart, and that the metrics then have; all, when empty.",
    )
    resource_metrics_cache_size: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Resources that are kept; beyond, those without spans for longest are forgotten.",
    )
    add_resource_attributes: bool = Field(
        default=True,
        description="Whether metrics have the resource attributes of their spans. Without, all spans are one resource"
        " without attributes.",
    )

    enable_metrics_sampling_method: bool = Field(
        default=False,
        description="Whether series have `sampling.method`: `extrapolated` for spans whose `tracestate` has a sampling"
        " threshold, `counted` for others.",
    )

    @model_validator(mode="before")
    @classmethod
    def _known_elsewhere(cls, values: Any) -> Any:
        return refuse(values, _ELSEWHERE)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        built_in = {*BUILT_IN, SAMPLING_METHOD} if self.enable_metrics_sampling_method else {*BUILT_IN}
        for lists in (
            (self.dimensions, self.calls_dimensions),
            (self.dimensions, self.histogram.dimensions),
            (self.dimensions, self.events.dimensions),
        ):
            seen = set(built_in)
            together = [one for some in lists for one in some]
            for dimension in together:
                if dimension.name in seen:
                    raise ValueError(f"the dimension {dimension.name!r} is there already; name it once")
                if dimension.name:
                    seen.add(dimension.name)
            _refuse_overlaps(together, seen)
        return self

    @property
    def cumulative(self) -> bool:
        return self.aggregation_temporality == "AGGREGATION_TEMPORALITY_CUMULATIVE"


def _refuse_overlaps(dimensions: Sequence[Dimension], names: set[str]) -> None:
    """Raises ValueError when a glob matches a dimension that is there by its name."""
    for dimension in dimensions:
        if dimension.glob:
            glob = Globs([dimension.glob])
            for name in sorted(filter(glob.match, names)):
                raise ValueError(f"the glob {dimension.glob!r} matches {name!r}, which is a dimension already")
