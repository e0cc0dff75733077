"""One ingest process: receivers, processors, exporters, store and spool. What exists once is its supervisor's."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ares_otel import __version__
from ares_otel.cli import console
from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.ingest import make_host
from ares_otel.cli.own_config import follow_settings
from ares_otel.cli.own_settings import FileSettings, OwnSettings
from ares_otel.cli.own_telemetry import OwnTelemetry
from ares_otel.cli.process_limits import spare_the_collector
from ares_otel.cli.scrape_targets import registry_targets
from ares_otel.cli.storing import Storing
from ares_otel.cli.workers.channel import Channel
from ares_otel.cli.workers.relay import RelayedAudience, SeenRelay
from ares_otel.cli.workers.setup import Setup, writer_connections
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.crypto import Keyring
from ares_otel.eventbus.live import LiveEvents, OnCommitted
from ares_otel.model.errors import StartError
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.load import load_bytes
from ares_otel.pipeline.problem import ConfigError
from ares_otel.pipeline.shared_ports import SharedPorts
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.pipeline.worker_metrics import Snapshot, snapshot
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

OWN_SECONDS = 5.0
"""In which this process's last log lines must be stored when it stops."""


class Worker:
    """One worker, steered over its channel: `start`, `reload`, `metrics`, `ready` are calls; `wanted`, `stop` and
    `hurry` are notes."""

    def __init__(self) -> None:
        self.channel = Channel(
            {"start": self._start, "reload": self._reload, "metrics": self._metrics, "ready": self._ready},
            {"stop": self._note_stop, "hurry": self._hurry, "wanted": self._note_wanted},
        )
        self.wanted_to_stop = asyncio.Event()
        self._audience = RelayedAudience(self.channel)
        self._telemetry = Telemetry()
        self._ports = SharedPorts()
        self._keyring = Keyring()
        self._grace = Grace()
        self._stack: Stages | None = None
        self._setup: Setup | None = None
        self._manager: ConfigManager | None = None
        self._settings: OwnSettings | None = None
        self._store: Store | None = None
        self._host: PipelineHost | None = None
        self._started = False

    async def stop(self) -> None:
        """Finishes what was accepted and tells the last figures. In the middle of a start there is nothing to finish:
        what was acknowledged is safe."""
        if not self._started or self._stack is None:
            return
        self._grace.begin()
        await self._stack.aclose()
        self.channel.note("last", figures=snapshot(self._telemetry.registry))

    async def _start(self, setup: dict[str, Any]) -> None:
        try:
            await self._begin(setup)
        except DATABASE_ERRORS as error:  # a worker may be started again while the database is away
            raise StartError(f"The database does not answer ({type(error).__name__}: {error}).") from error

    async def _begin(self, setup: dict[str, Any]) -> None:
        told = self._setup = Setup.model_validate(setup)
        config = self._load(told.content)
        console.log_to_stderr(config.telemetry.logs.level, f"worker {told.number}")
        self._grace = Grace(told.options.shutdown_grace)
        stack = self._stack = Stages(self._grace)
        self._keyring.take_from(Keyring.from_environ())
        self._ports.ports = told.ports
        telemetry, facts = self._telemetry, told.facts
        manager = self._manager = await follow_settings(told.url, facts, self._keyring, telemetry, stack)
        settings = self._settings = OwnSettings(manager, FileSettings.of(config), quiet=True)
        store = self._store = await self._open_store(told, stack)
        own = OwnTelemetry(
            store,
            telemetry,
            version=__version__,
            instance_id=told.instance_id,
            spans=False,  # of the API, which is the supervisor's
            worker=told.number,
        )
        stack.push_bounded("Ares's own telemetry", own.stop, at_most=OWN_SECONDS)
        settings.apply()
        self._host = make_host(
            told.options,
            telemetry,
            store,
            self._grace,
            Identity(told.instance_id, told.number, told.options.workers),
            self._ports,
            targets=registry_targets(told.options, told.url, facts, stack),
        )
        stack.push_bounded("The pipeline", self._host.stop)
        await self._host.replace(config)
        spare_the_collector()
        self._started = True

    async def _open_store(self, told: Setup, stack: Stages) -> Store:
        storing = Storing(told.options, self._telemetry)
        await storing.open_spool(stack)
        store = storing.make_store(told.url, told.facts, writer_connections(told.options.workers))
        stack.push_bounded("The writer", store.stop)
        senders = SeenRelay(self.channel)
        stack.push_async_callback(senders.stop)
        store.on_stored = lambda batch: senders.seen(batch.services)
        await store.start()
        await senders.start()
        dropped = self._telemetry.counter("ares_otel_tail_dropped")

        def attach(function: OnCommitted | None) -> None:
            store.on_committed = function

        live = LiveEvents(self._audience, attach, dropped=dropped.inc)
        stack.push_async_callback(live.stop)
        await live.start()
        return store

    async def _reload(self, content: str, ports: dict[str, int]) -> None:
        assert self._host is not None
        assert self._settings is not None
        assert self._manager is not None
        config = self._load(content)
        before, self._ports.ports = self._ports.ports, ports
        try:
            self._keyring.take_from(Keyring.from_environ())
            self._manager.refresh()
            await self._host.replace(config)
        except BaseException:
            self._ports.ports = before
            raise
        self._settings.read_file(FileSettings.of(config))

    async def _metrics(self) -> Snapshot:
        return snapshot(self._telemetry.registry)

    async def _ready(self) -> list[str]:
        if not self._started or self._store is None:
            return ["Ares is starting."]
        if self.wanted_to_stop.is_set():
            return ["Ares is stopping."]
        return [breaker.reason for breaker in self._store.breakers.values() if breaker.open]

    def _note_wanted(self, topics: list[str]) -> None:
        self._audience.wants(topics)

    def _note_stop(self) -> None:
        self.wanted_to_stop.set()

    def _hurry(self) -> None:
        self._grace.cut()

    def _load(self, content: str) -> PipelineConfig:
        assert self._setup is not None
        options = self._setup.options
        try:
            return load_bytes(content.encode("latin-1"), str(options.config), COMPONENTS, options.environ(os.environ))
        except ConfigError as error:
            raise StartError(str(error)) from error
