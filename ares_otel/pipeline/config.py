"""The pipeline configuration, read and checked: what the graph is built from.

The file has the Collector's shape: `receivers`, `processors`, `exporters`, `connectors`, `extensions` with ids `type`
or `type/name`, and `service` with `pipelines`, `extensions` and `telemetry`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ares_otel.model.signal import Signal
from ares_otel.pipeline.component import ComponentConfig, Factory
from ares_otel.pipeline.problem import Place, Problem

_LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class LogsTelemetry(ComponentConfig):
    """Log lines of Ares itself."""

    level: Annotated[Literal["debug", "info", "warn", "error"], _LowerCase] = Field(
        default="info", description="Least important log line of Ares itself that is written to standard error."
    )


class TracesTelemetry(ComponentConfig):
    """Spans of Ares itself."""

    level: Annotated[Literal["none", "basic"], _LowerCase] = Field(
        default="basic", description="`basic`: Ares stores spans of its own work; `none`: it does not."
    )


class ServiceTelemetry(ComponentConfig):
    """`service.telemetry`: how Ares tells about itself."""

    logs: LogsTelemetry = LogsTelemetry()
    traces: TracesTelemetry = TracesTelemetry()


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One configured component. Two specs are equal when a running component need not be exchanged for the other."""

    id: str
    factory: Factory
    config: ComponentConfig
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """One pipeline: component ids in the order in which a batch meets them."""

    id: str
    """`traces` or `traces/name`"""
    signal: Signal
    receivers: tuple[str, ...]
    processors: tuple[str, ...]
    exporters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A whole configuration without errors. Holds only components that a pipeline uses."""

    receivers: Mapping[str, ComponentSpec]
    processors: Mapping[str, ComponentSpec]
    exporters: Mapping[str, ComponentSpec]
    pipelines: Mapping[str, PipelineSpec]
    connectors: Mapping[str, ComponentSpec] = field(default_factory=dict)
    telemetry: ServiceTelemetry = field(default_factory=ServiceTelemetry)
    used_variables: frozenset[str] = frozenset()
    """Environment variables that the file refers to, whether they are set or not."""
    warnings: Sequence[Problem] = ()
    file: str = ""

    def signals_of(self, receiver: str) -> frozenset[Signal]:
        """The signals whose pipelines name this receiver, or this connector as a receiver."""
        return frozenset(p.signal for p in self.pipelines.values() if receiver in p.receivers)
