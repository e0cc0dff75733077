"""Runs a configuration, and exchanges it for another one without losing or doubling a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ares_otel.model.errors import AddressInUse, StartError
from ares_otel.model.signal import Signal
from ares_otel.pipeline.component import Component
from ares_otel.pipeline.config import ComponentSpec, PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.graph import Graph, Parts, build_receiver, start_all, stop_all
from ares_otel.pipeline.switch import Closed, Switch

_Wanted = tuple[ComponentSpec, frozenset[Signal]]


@dataclass(frozen=True, slots=True)
class _Receiver:
    spec: ComponentSpec
    signals: frozenset[Signal]
    component: Component
    switches: Mapping[Signal, Switch]

    def same_as(self, other: ComponentSpec, signals: frozenset[Signal]) -> bool:
        return self.spec == other and self.signals == signals


class PipelineHost:
    """The running pipelines of a process. `replace` is the only way in: for the first start, and for every change
    after it (SIGHUP, a changed entry of the configuration service)."""

    def __init__(self, parts: Parts, *, grace: Grace | None = None) -> None:
        """
        Args:
            grace: how long batches in flight may keep a pipeline from being stopped.
        """
        self._parts = parts
        self._grace = grace or Grace()
        self._lock = asyncio.Lock()
        self._graph: Graph | None = None
        self._receivers: dict[str, _Receiver] = {}
        self._stopped = False
        self.config: PipelineConfig | None = None
        """The configuration that runs now; None before the first `replace` and after `stop`."""

    @property
    def receivers(self) -> dict[str, Component]:
        """The running receivers by id: they know the addresses that they are bound to."""
        return {id: receiver.component for id, receiver in self._receivers.items()}

    async def replace(self, config: PipelineConfig) -> None:
        """Makes the configuration run.

        1. Exporters, processors and connectors are built and started; exporters and connectors with an equal
           configuration are taken over.
        2. New and changed receivers start, wired to the new pipelines; then those that are gone or changed stop, and
           what they had accepted still ends in the old pipelines. Where both need the same address, the old ones stop
           first, and are started again when the new ones then fail.
        3. Unchanged receivers and connectors, which never stopped, are switched to the new pipelines.
        4. The old pipelines run empty and stop.

        Raises:
            StartError: the new configuration does not start. The one before runs on unharmed; only when a receiver
                of it cannot be started again (somebody took its port meanwhile) the message says so too.
        """
        async with self._lock:
            if self._stopped:
                raise StartError("Ares is stopping; it takes no new configuration.")
            old = self._graph
            graph = Graph(config, self._parts, old)
            await graph.start()
            try:
                receivers = await self._exchange_receivers(config, graph)
            except BaseException:
                await self._stop_graph(graph, old)
                raise
            for receiver in receivers.values():
                for signal, switch in receiver.switches.items():
                    switch.target = graph.entrances[receiver.spec.id, signal]
            graph.take_over()
            self._graph, self._receivers, self.config = graph, receivers, config
            if old is not None:
                await self._stop_graph(old, graph)

    async def stop(self) -> None:
        """Stops receivers, then connectors, processors and exporters, after what was accepted has been handed on. Safe
        to call twice, and without a start."""
        async with self._lock:
            self._stopped = True
            receivers, self._receivers = self._receivers, {}
            graph, self._graph = self._graph, None
            self.config = None
            await self._stop_receivers(receivers)
            for receiver in receivers.values():
                for switch in receiver.switches.values():
                    switch.target = Closed()
            if graph is not None:
                await self._stop_graph(graph, None)

    async def _stop_graph(self, graph: Graph, following: Graph | None) -> None:
        await graph.stop(following, self._grace.left())

    async def _exchange_receivers(self, config: PipelineConfig, graph: Graph) -> dict[str, _Receiver]:
        """Step 2 of `replace`; the result also holds the unchanged receivers, still on the old pipelines."""
        wanted = {id: (spec, config.signals_of(id)) for id, spec in config.receivers.items()}
        unchanged = {
            id: running for id, running in self._receivers.items() if id in wanted and running.same_as(*wanted[id])
        }
        leaving = {id: running for id, running in self._receivers.items() if id not in unchanged}
        try:
            new = await self._start_receivers(wanted, unchanged, graph)
        except AddressInUse:
            if not leaving:
                raise
            await self._stop_receivers(leaving)
            try:
                new = await self._start_receivers(wanted, unchanged, graph)
            except BaseException as error:
                await self._restart(leaving, error)
                raise
        else:
            await self._stop_receivers(leaving)
        return {id: unchanged.get(id) or new[id] for id in wanted}

    async def _start_receivers(
        self, wanted: Mapping[str, _Wanted], unchanged: Mapping[str, _Receiver], graph: Graph
    ) -> dict[str, _Receiver]:
        new = {id: self._make(*what, graph) for id, what in wanted.items() if id not in unchanged}
        await start_all([(id, receiver.component) for id, receiver in new.items()], self._parts.log)
        return new

    async def _stop_receivers(self, receivers: Mapping[str, _Receiver]) -> None:
        await stop_all([(id, receiver.component) for id, receiver in receivers.items()], self._parts.log)

    def _make(self, spec: ComponentSpec, signals: frozenset[Signal], graph: Graph) -> _Receiver:
        switches = {
            signal: Switch(graph.entrances[spec.id, signal])
            for signal in sorted(signals, key=lambda signal: signal.name)
        }
        return _Receiver(spec, signals, build_receiver(spec, self._parts, switches), switches)

    async def _restart(self, leaving: Mapping[str, _Receiver], reason: BaseException) -> None:
        """Brings stopped receivers back, in front of the old pipelines, which still run."""
        assert self._graph is not None or not leaving
        for id, gone in leaving.items():
            assert self._graph is not None
            del self._receivers[id]
            try:
                back = self._make(gone.spec, gone.signals, self._graph)
                await start_all([(id, back.component)], self._parts.log)
            except StartError as error:
                raise StartError(f"{reason}\nThe receiver {id} could not be started again: {error}") from reason
            self._receivers[id] = back
