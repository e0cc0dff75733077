"""Small components for tests of the pipeline: they keep what they get and can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from pydantic import Field

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.errors import AddressInUse, StartError
from ares_otel.model.signal import METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import (
    BuildContext,
    ComponentConfig,
    ConnectorFactory,
    ExporterFactory,
    Factory,
    ProcessorFactory,
    ReceiverFactory,
)
from ares_otel.pipeline.duration import Duration
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.sending import SendingConfig
from ares_otel.pipeline.telemetry import Telemetry


def trace_batch(name: str = "a", spans: int = 1, *, deadline: float | None = None) -> Batch:
    """A batch of `spans` spans; batches with another name have other bytes."""
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(name=name)] * spans)])]
    )
    payload = request.SerializeToString()
    return Batch(TRACES, payload, received_ns=0, receiver="toy", transport="test", deadline=deadline)


class ToyConfig(ComponentConfig):
    label: str = ""
    port: int = Field(default=0, ge=0, le=65535)


class TlsConfig(ComponentConfig):
    insecure: bool = False
    ca_file: str = ""


class ToyExporterConfig(SendingConfig):
    label: str = ""
    interval: Duration = 1.0
    mode: Literal["ignore", "propagate"] = "propagate"
    tls: TlsConfig = TlsConfig()
    mutual_tls: TlsConfig | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    rules: Sequence[ToyConfig] = ()


@dataclass
class World:
    """What all toys of one test share: their life in order, the batches that exporters got, and planned failures."""

    events: list[str] = field(default_factory=list)
    received: dict[str, list[Batch]] = field(default_factory=dict)
    receivers: dict[str, ToyReceiver] = field(default_factory=dict)
    connectors: dict[str, ToyConnector] = field(default_factory=dict)
    answers: dict[str, list[Accepted | Exception]] = field(default_factory=dict)
    """Answers of an exporter, by label or id, first to last; after them everything is accepted."""
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """Exporters (by label or id) that answer only when the event is set."""
    broken: set[str] = field(default_factory=set)
    """Labels of components whose start fails."""
    ports: set[int] = field(default_factory=set)
    telemetry: Telemetry = field(default_factory=Telemetry)

    def parts(self) -> Parts:
        return Parts(self.telemetry, Admission(), services={World: self})

    def count(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


class _Toy:
    def __init__(self, context: BuildContext, config: ToyConfig | ToyExporterConfig) -> None:
        self.world = context.service(World)
        self.id = context.id
        self.name = config.label or context.id
        self.started = False

    async def start(self) -> None:
        if self.name in self.world.broken:
            raise StartError(f"{self.name} is broken.")
        self.started = True
        self.world.events.append(f"start {self.name}")

    async def stop(self) -> None:
        if self.started:
            self.world.events.append(f"stop {self.name}")
        self.started = False


class ToyReceiver(_Toy):
    """Sends what a test gives it; takes its port in the world, so that two on one port fail as real ones do."""

    def __init__(self, context: BuildContext, config: ToyConfig, consumers: Mapping[Signal, Consumer]) -> None:
        super().__init__(context, config)
        self.port = config.port
        self.consumers = consumers

    async def start(self) -> None:
        if self.port in self.world.ports:
            raise AddressInUse(f"{self.name}: port {self.port} is in use.")
        await super().start()
        if self.port:
            self.world.ports.add(self.port)
        self.world.receivers[self.id] = self

    async def stop(self) -> None:
        if self.started:
            self.world.ports.discard(self.port)
        await super().stop()

    async def send(self, batch: Batch) -> Accepted:
        return await self.consumers[batch.signal].consume(batch)


class ToyProcessor(_Toy):
    """Adds its name to every span's name; other signals it hands on as they are."""

    def __init__(self, context: BuildContext, config: ToyConfig, signal: Signal, following: Consumer) -> None:
        super().__init__(context, config)
        self.following = following

    async def consume(self, batch: Batch) -> Accepted:
        assert self.started
        if batch.signal is not TRACES:
            return await self.following.consume(batch)
        message = batch.copy_message()
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    span.name += f">{self.name}"
        return await self.following.consume(batch.child(message, component=self.id))


class ToyExporter(_Toy):
    """Keeps batches. One attempt a call, as every exporter."""

    async def consume(self, batch: Batch) -> Accepted:
        assert self.started, f"{self.name} got a batch although it does not run"
        if self.name in self.world.held:
            await self.world.held[self.name].wait()
        planned = self.world.answers.get(self.name)
        answer: Any = planned.pop(0) if planned else Accepted(batch.items)
        if isinstance(answer, Exception):
            raise answer
        self.world.received.setdefault(self.name, []).append(batch)
        assert isinstance(answer, Accepted)
        return answer


class ToyConnector(_Toy):
    """Keeps what it is told of, and hands on what a test gives it; once more at its end."""

    def __init__(self, context: BuildContext, config: ToyConfig, consumers: Mapping[Signal, Consumer]) -> None:
        super().__init__(context, config)
        self.consumers = consumers
        self.last: Batch | None = None
        self.world.connectors[self.id] = self

    async def observe(self, batch: Batch) -> None:
        assert self.started, f"{self.name} was told of a batch although it does not run"
        planned = self.world.answers.get(self.name)
        if planned and isinstance(error := planned.pop(0), Exception):
            raise error
        self.world.received.setdefault(self.name, []).append(batch)

    async def emit(self, batch: Batch) -> Accepted:
        return await self.consumers[batch.signal].consume(batch)

    async def stop(self) -> None:
        if self.started and self.last is not None:
            await self.emit(self.last)
        await super().stop()


ONLY_TRACES = frozenset({TRACES})
ALL = frozenset(SIGNALS.values())
TOYS: tuple[Factory, ...] = (
    ReceiverFactory("toy", ToyConfig, ToyReceiver, ALL),
    ProcessorFactory("mark", ToyConfig, ToyProcessor, ALL),
    ExporterFactory("store", ToyConfig, ToyExporter, ALL, durable=True),
    ExporterFactory("send", ToyExporterConfig, ToyExporter, ALL),
    ExporterFactory("spans_only", ToyConfig, ToyExporter, ONLY_TRACES),
    ConnectorFactory("link", ToyConfig, ToyConnector, ONLY_TRACES, frozenset({METRICS})),
    ConnectorFactory("loop", ToyConfig, ToyConnector, ALL, ALL),
)


def span_names(batches: Sequence[Batch]) -> list[str]:
    """Names of all spans in the order of the batches."""
    return [
        span.name
        for batch in batches
        for resource in batch.message().resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def until(condition: Callable[[], Any]) -> None:
    """Lets other tasks run until the condition holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


async def some_turns() -> None:
    """Lets other tasks run as far as they can without anything from outside."""
    for _ in range(20):
        await asyncio.sleep(0)
