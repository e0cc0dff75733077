"""The running form of a configuration: exporters, processors in front of them, and the entrances for receivers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ares_otel.model.batch import Consumer
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import StartError
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import (
    BuildContext,
    Component,
    Connector,
    ConnectorFactory,
    ExporterFactory,
    ProcessorFactory,
    ReceiverFactory,
    Stage,
)
from ares_otel.pipeline.config import ComponentSpec, PipelineConfig, PipelineSpec
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.fanout import fan_out
from ares_otel.pipeline.following import ConnectorEnd, Following, Keys
from ares_otel.pipeline.gate import Gate
from ares_otel.pipeline.sending import Sending
from ares_otel.pipeline.switch import Closed, Switch
from ares_otel.pipeline.tee import Tee
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.pipeline.wiring import upstream_first


@dataclass(frozen=True, slots=True)
class Parts:
    """What the house gives to all components."""

    telemetry: Telemetry
    admission: Admission
    clock: Clock = SYSTEM_CLOCK
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("ares_otel"))
    services: Mapping[type, Any] = field(default_factory=dict)

    def context(self, id: str) -> BuildContext:
        """The context of the component with that id."""
        return BuildContext(id, self.telemetry, self.admission, self.clock, self.log, self.services)


@dataclass(frozen=True, slots=True)
class ExporterNode:
    """One built exporter; kept over a replacement when its spec stays equal."""

    spec: ComponentSpec
    stage: Stage
    """The exporter itself when it is durable, else a `Sending` around it."""
    durable: bool


@dataclass(frozen=True, slots=True)
class ConnectorNode:
    """One built connector; kept over a replacement, with what it has counted, when its spec stays equal."""

    spec: ComponentSpec
    component: Connector
    end: ConnectorEnd
    """What pipelines feed that name it under `exporters`."""
    switches: Mapping[Signal, Switch]
    """What it feeds."""


class Graph:
    """Everything behind the receivers. Built, started and stopped as a whole; a new configuration makes a new one."""

    def __init__(self, config: PipelineConfig, parts: Parts, old: Graph | None) -> None:
        """
        Args:
            old: the graph before; its exporters and connectors whose spec is equal here are taken over, running.

        Raises:
            StartError: a component could not be built.
        """
        self.gate = Gate()
        self.exporters: dict[str, ExporterNode] = {}
        self.connectors: dict[str, ConnectorNode] = {}
        """In the order of stopping: upstream first."""
        self._processors: list[tuple[str, Stage]] = []
        """In the order of stopping: upstream first."""
        self._parts = parts
        self._taken_over: set[str] = set()
        self._following: list[Following] = []
        self._unsure: Keys = old._unsure if old else Keys()
        self._errors = ErrorLog(parts.log, parts.clock, told="; the answer to the sender is not affected")
        for id, spec in config.exporters.items():
            if old and id in old.exporters and old.exporters[id].spec == spec:
                self.exporters[id] = old.exporters[id]
                self._taken_over.add(id)
            else:
                self.exporters[id] = _build_exporter(spec, parts)
        for id in upstream_first(config.pipelines.values(), config.connectors):
            spec, signals = config.connectors[id], config.signals_of(id)
            if old and id in old.connectors and _same(old.connectors[id], spec, signals):
                self.connectors[id] = old.connectors[id]
                self._taken_over.add(id)
            else:
                self.connectors[id] = _build_connector(spec, parts, signals)
        deciding: dict[tuple[str, Signal], list[Consumer]] = {}
        following: dict[tuple[str, Signal], list[Consumer]] = {}
        for pipeline in config.pipelines.values():
            first = self._chain(config, pipeline)
            ends = deciding if any(id in self.exporters for id in pipeline.exporters) else following
            for receiver in pipeline.receivers:
                ends.setdefault((receiver, pipeline.signal), []).append(first)
        self.entrances: dict[tuple[str, Signal], Consumer] = {
            key: self.gate.entrance(self._behind(deciding.get(key, ()), following.get(key, ())))
            for key in deciding | following
        }
        """What a receiver, or a connector, of that id feeds with that signal."""
        for id, node in self.connectors.items():
            if id not in self._taken_over:
                self._connect(node)

    def take_over(self) -> None:
        """Lets the connectors of the graph before feed this one; to be called when it runs."""
        for node in self.connectors.values():
            self._connect(node)

    def _connect(self, node: ConnectorNode) -> None:
        for signal, switch in node.switches.items():
            switch.target = self.entrances[node.spec.id, signal]

    def _behind(self, deciding: Sequence[Consumer], following: Sequence[Consumer]) -> Consumer:
        """Pipelines that end in connectors only follow the others: what nobody else takes they must not count."""
        if not deciding or not following:
            return fan_out([*deciding, *following])
        made = Following(fan_out(deciding), following, self.gate, self._unsure, self._errors)
        self._following.append(made)
        return made

    def _chain(self, config: PipelineConfig, pipeline: PipelineSpec) -> Consumer:
        """Builds from the end: each processor is given the consumer after it."""
        following = self._end(pipeline)
        stages: list[tuple[str, Stage]] = []
        for id in reversed(pipeline.processors):
            spec = config.processors[id]
            assert isinstance(spec.factory, ProcessorFactory)
            with building(id):
                stage = spec.factory.build(self._parts.context(id), spec.config, pipeline.signal, following)
            stages.append((id, stage))
            following = stage
        self._processors += reversed(stages)
        return following

    def _end(self, pipeline: PipelineSpec) -> Consumer:
        """A durable exporter decides the answer and the others are a tee behind it; without one, all decide. Connectors
        follow what was decided."""
        connectors = [self.connectors[id].end for id in pipeline.exporters if id in self.connectors]
        nodes = [self.exporters[id] for id in pipeline.exporters if id in self.exporters]
        return self._behind([self._exporters_end(nodes)] if nodes else [], connectors)

    def _exporters_end(self, nodes: Sequence[ExporterNode]) -> Consumer:
        deciding = [node.stage for node in nodes if node.durable]
        if not deciding:
            return fan_out([node.stage for node in nodes])
        others = [node.stage for node in nodes if isinstance(node.stage, Sending)]
        for other in others:
            other.open_queue()
        return Tee(fan_out(deciding), others) if others else fan_out(deciding)

    async def start(self) -> None:
        """Starts exporters, then processors from the last to the first, then connectors from the last to the first.
        When one fails, those before it are stopped.

        Raises:
            StartError: the message of the component that could not start.
        """
        new = [(id, node.stage) for id, node in self.exporters.items() if id not in self._taken_over]
        connectors = [(id, node.component) for id, node in self.connectors.items() if id not in self._taken_over]
        await start_all([*new, *reversed(self._processors), *reversed(connectors)], self._parts.log)

    async def stop(self, following: Graph | None, drain_seconds: float) -> None:
        """Waits for the batches inside, then stops connectors, which hand on what they have, processors (first to last)
        and exporters, except those that the following graph has taken over."""
        if not await self.gate.wait_empty(drain_seconds):
            self._parts.log.warning("Batches are still in a pipeline after %g s; stopping it anyway.", drain_seconds)
            for carrying in self._following:
                await carrying.give_up()
        taken = {id for id, node in following.exporters.items() if self.exporters.get(id) is node} if following else ()
        rest = [(id, node.stage) for id, node in self.exporters.items() if id not in taken]
        kept = following.connectors if following else {}
        ending = [(id, node.component) for id, node in self.connectors.items() if kept.get(id) is not node]
        await stop_all([*ending, *self._processors, *rest], self._parts.log)


@contextmanager
def building(id: str) -> Iterator[None]:
    """Makes a clear StartError of whatever a factory raises."""
    try:
        yield
    except StartError:
        raise
    except Exception as error:
        raise StartError(f"{id} cannot be set up: {type(error).__name__}: {error}") from error


def _build_exporter(spec: ComponentSpec, parts: Parts) -> ExporterNode:
    assert isinstance(spec.factory, ExporterFactory)
    context = parts.context(spec.id)
    with building(spec.id):
        stage = spec.factory.build(context, spec.config)
    durable = spec.factory.durable
    return ExporterNode(spec, stage if durable else Sending(context, spec.config, stage), durable)


def _build_connector(spec: ComponentSpec, parts: Parts, signals: frozenset[Signal]) -> ConnectorNode:
    assert isinstance(spec.factory, ConnectorFactory)
    context = parts.context(spec.id)
    switches = {signal: Switch(Closed()) for signal in sorted(signals, key=lambda signal: signal.name)}
    with building(spec.id):
        component = spec.factory.build(context, spec.config, switches)
    return ConnectorNode(spec, component, ConnectorEnd(context, component), switches)


def _same(node: ConnectorNode, spec: ComponentSpec, signals: frozenset[Signal]) -> bool:
    return node.spec == spec and node.switches.keys() == signals


def build_receiver(spec: ComponentSpec, parts: Parts, consumers: Mapping[Signal, Consumer]) -> Component:
    """Builds one receiver. Raises StartError when its factory fails."""
    assert isinstance(spec.factory, ReceiverFactory)
    with building(spec.id):
        return spec.factory.build(parts.context(spec.id), spec.config, consumers)


async def start_all(components: Iterable[tuple[str, Component]], log: logging.Logger) -> None:
    """Starts one after the other; when one fails, stops it and those before it, in the opposite order.

    Raises:
        StartError: why a component could not start.
    """
    begun: list[tuple[str, Component]] = []
    try:
        for id, component in components:
            begun.append((id, component))
            await component.start()
    except BaseException as error:
        await stop_all(reversed(begun), log)
        if isinstance(error, StartError) or not isinstance(error, Exception):
            raise
        log.error("%s could not start", begun[-1][0], exc_info=error)
        raise StartError(f"{begun[-1][0]} could not start: {type(error).__name__}: {error}") from error


async def stop_all(components: Iterable[tuple[str, Component]], log: logging.Logger) -> None:
    """Stops one after the other; what one of them raises is logged, and the next one is stopped."""
    for id, component in components:
        try:
            await component.stop()
        except Exception:
            log.exception("%s did not stop cleanly", id)
