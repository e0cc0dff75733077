"""The running form of a configuration: exporters, processors in front of them, and the entrances for receivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import StartError
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import (
    BuildContext,
    Component,
    ExporterFactory,
    ProcessorFactory,
    ReceiverFactory,
    Stage,
)
from ares_otel.pipeline.config import ComponentSpec, PipelineConfig, PipelineSpec
from ares_otel.pipeline.fanout import fan_out
from ares_otel.pipeline.sending import Sending
from ares_otel.pipeline.tee import Tee
from ares_otel.pipeline.telemetry import Telemetry


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


class Gate:
    """Counts the batches that are inside a graph, so that it can be stopped when the last one has left."""

    def __init__(self) -> None:
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def entrance(self, consumer: Consumer) -> Consumer:
        """The consumer, with every batch on its way through it counted."""
        return _Entrance(self, consumer)

    def enter(self) -> None:
        self._inside += 1
        self._empty.clear()

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def wait_empty(self, seconds: float) -> bool:
        """Waits until no batch is inside; False when some still are after that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


class _Entrance:
    def __init__(self, gate: Gate, consumer: Consumer) -> None:
        self._gate = gate
        self._consumer = consumer

    async def consume(self, batch: Batch) -> Accepted:
        self._gate.enter()
        try:
            return await self._consumer.consume(batch)
        finally:
            self._gate.leave()


@dataclass(frozen=True, slots=True)
class ExporterNode:
    """One built exporter; kept over a replacement when its spec stays equal."""

    spec: ComponentSpec
    stage: Stage
    """The exporter itself when it is durable, else a `Sending` around it."""
    durable: bool


class Graph:
    """Everything behind the receivers. Built, started and stopped as a whole; a new configuration makes a new one."""

    def __init__(self, config: PipelineConfig, parts: Parts, kept: Mapping[str, ExporterNode]) -> None:
        """
        Args:
            kept: exporters of the graph before; those whose spec is equal here are taken over, running.

        Raises:
            StartError: a component could not be built.
        """
        self.gate = Gate()
        self.exporters: dict[str, ExporterNode] = {}
        self._processors: list[tuple[str, Stage]] = []
        """In the order of stopping: upstream first."""
        self._parts = parts
        self._taken_over: set[str] = set()
        for id, spec in config.exporters.items():
            if id in kept and kept[id].spec == spec:
                self.exporters[id] = kept[id]
                self._taken_over.add(id)
            else:
                self.exporters[id] = _build_exporter(spec, parts)
        ends: dict[tuple[str, Signal], list[Consumer]] = {}
        for pipeline in config.pipelines.values():
            first = self._chain(config, pipeline)
            for receiver in pipeline.receivers:
                ends.setdefault((receiver, pipeline.signal), []).append(first)
        self.entrances: dict[tuple[str, Signal], Consumer] = {
            key: self.gate.entrance(fan_out(consumers)) for key, consumers in ends.items()
        }
        """What a receiver of that id feeds with that signal."""

    def _chain(self, config: PipelineConfig, pipeline: PipelineSpec) -> Consumer:
        """Builds from the end: each processor is given the consumer after it."""
        following = self._end([self.exporters[id] for id in pipeline.exporters])
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

    def _end(self, nodes: Sequence[ExporterNode]) -> Consumer:
        """A durable exporter decides the answer and the others are a tee behind it; without one, all decide."""
        deciding = [node.stage for node in nodes if node.durable]
        if not deciding:
            return fan_out([node.stage for node in nodes])
        others = [node.stage for node in nodes if isinstance(node.stage, Sending)]
        for other in others:
            other.open_queue()
        return Tee(fan_out(deciding), others) if others else fan_out(deciding)

    async def start(self) -> None:
        """Starts exporters, then processors from the last to the first. When one fails, those before it are stopped.

        Raises:
            StartError: the message of the component that could not start.
        """
        new = [(id, node.stage) for id, node in self.exporters.items() if id not in self._taken_over]
        await start_all([*new, *reversed(self._processors)], self._parts.log)

    async def stop(self, following: Graph | None, drain_seconds: float) -> None:
        """Waits for the batches inside, then stops processors (first to last) and exporters, except those that the
        following graph has taken over."""
        if not await self.gate.wait_empty(drain_seconds):
            self._parts.log.warning("Batches are still in a pipeline after %g s; stopping it anyway.", drain_seconds)
        taken = {id for id, node in following.exporters.items() if self.exporters.get(id) is node} if following else ()
        rest = [(id, node.stage) for id, node in self.exporters.items() if id not in taken]
        await stop_all([*self._processors, *rest], self._parts.log)


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
