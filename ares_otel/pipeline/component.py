"""The contract between the pipeline and its components.

A component is three parts: a pydantic config with defaults (`ComponentConfig`), a `Factory`, and the object that works.
All factories stand in one explicit list, `ares_otel/cli/components.py`; importing a module registers nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.shared_ports import Endpoint
from ares_otel.pipeline.telemetry import Telemetry

T = TypeVar("T")


class Kind(Enum):
    """The sections of the configuration file; the values are their names."""

    RECEIVER = "receivers"
    PROCESSOR = "processors"
    EXPORTER = "exporters"
    CONNECTOR = "connectors"
    EXTENSION = "extensions"


class ComponentConfig(BaseModel):
    """Base of every component's configuration. An unknown option is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def endpoints(self, id: str) -> Sequence[Endpoint]:
        """Where a receiver with this id and this configuration listens; what does not listen has none."""
        return ()


ConfigType = type[ComponentConfig]


class Component(Protocol):
    """Something with a life. Exporters start first and receivers last; stopping goes the other way round.

    `start` raises `StartError` with one clear line when it cannot. `stop` is safe without `start`, and twice; when it
    returns, everything that was accepted has been handed on.
    """

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Stage(Component, Consumer, Protocol):
    """A processor or an exporter: a component that takes batches."""


class Connector(Component, Protocol):
    """Makes telemetry for one kind of pipeline out of what passes through another.

    `observe` is given each batch that is new and safe, once: not one that the sender repeats, and not one that the
    exporters beside the connector refused. It returns soon, changes nothing about the answer, and what it raises is
    logged and counted. What the connector makes it hands to its consumers; `stop` hands on the rest.
    """

    async def observe(self, batch: Batch) -> None: ...


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a component gets besides its configuration."""

    id: str
    """Component id as in the configuration: `type` or `type/name`."""
    telemetry: Telemetry
    """Counters and gauges of Ares itself."""
    admission: Admission
    """The byte budget that a receiver reserves from before it reads a body."""
    clock: Clock = SYSTEM_CLOCK
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("ares_otel"))
    services: Mapping[type, Any] = field(default_factory=dict)
    """Parts of the house that only some components need, by type: the storage writer for the postgres exporter."""

    def service(self, kind: type[T]) -> T:
        """The part of the house of that type. Raises KeyError when it is missing: a mistake of the wiring."""
        found = self.services[kind]
        assert isinstance(found, kind)
        return found


@dataclass(frozen=True, slots=True)
class ReceiverFactory:
    """Builds one receiver. `consumers` holds one consumer for each signal whose pipelines name this receiver; the
    receiver serves exactly these. The consumers stay the same objects when a pipeline behind them is replaced."""

    type: str
    config: ConfigType
    build: Callable[[BuildContext, Any, Mapping[Signal, Consumer]], Component]
    signals: frozenset[Signal]
    kind: Kind = Kind.RECEIVER


@dataclass(frozen=True, slots=True)
class ProcessorFactory:
    """Builds one processor for one pipeline: `build(context, config, signal, next)`."""

    type: str
    config: ConfigType
    build: Callable[[BuildContext, Any, Signal, Consumer], Stage]
    signals: frozenset[Signal]
    kind: Kind = Kind.PROCESSOR


@dataclass(frozen=True, slots=True)
class ExporterFactory:
    """Builds one exporter, shared by all pipelines that name it: `build(context, config)`.

    `durable` says that `consume` returns only when the data is committed, or safe on disk: such an exporter decides the
    answer, the others of its pipeline run behind it from a bounded queue.
    """

    type: str
    config: ConfigType
    build: Callable[[BuildContext, Any], Stage]
    signals: frozenset[Signal]
    durable: bool = False
    kind: Kind = Kind.EXPORTER


@dataclass(frozen=True, slots=True)
class ConnectorFactory:
    """Builds one connector, an exporter of some pipelines and a receiver of others.

    `build(context, config, consumers)`: `consumers` holds one consumer for each signal whose pipelines name the
    connector as a receiver. They stay the same objects when a pipeline behind them is replaced.
    """

    type: str
    config: ConfigType
    build: Callable[[BuildContext, Any, Mapping[Signal, Consumer]], Connector]
    signals: frozenset[Signal]
    """What it takes: signals of the pipelines that name it under `exporters`."""
    emits: frozenset[Signal]
    """What it makes: signals of the pipelines that name it under `receivers`."""
    kind: Kind = Kind.CONNECTOR


Factory = ReceiverFactory | ProcessorFactory | ExporterFactory | ConnectorFactory
