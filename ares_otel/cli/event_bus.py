"""The event bus of `ares-otel up`: made, measured, steered by its settings, with the subscribers that come along."""

from __future__ import annotations

from contextlib import AsyncExitStack

import asyncpg

from ares_otel.api.event_streams import EventStreams
from ares_otel.cli.own_settings import OwnSettings
from ares_otel.control.config.changes import Connect
from ares_otel.control.config_announcer import ConfigAnnouncer
from ares_otel.eventbus.factory import START_SECONDS
from ares_otel.eventbus.live import LiveEvents, OnCommitted
from ares_otel.eventbus.subscribers import AnalyticsSubscriber, TradeAuditSubscriber
from ares_otel.eventbus.switching import SwitchingBus
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.store import Store


class Events:
    """The bus and what belongs to it."""

    def __init__(self, telemetry: Telemetry, stack: AsyncExitStack) -> None:
        """
        Args:
            stack: ends everything, in the opposite order.
        """
        self._telemetry = telemetry
        self._stack = stack
        self.bus = SwitchingBus(tell=lambda name, amount: telemetry.counter(f"ares_otel_bus_{name}").inc(amount))
        counted = telemetry.counter("ares_otel_bus_events")
        self.analytics = AnalyticsSubscriber(self.bus, tell=lambda topic: counted.labels(topic=topic).inc())
        self.streams = EventStreams(self.bus)
        self._measure()

    async def start(self, pool: asyncpg.Pool, settings: OwnSettings, connect: Connect, *, listens: bool) -> None:
        """Starts the bus as the settings want it, its subscribers, and the announcement of changed settings."""
        bus = self.bus
        self._stack.push_async_callback(bus.close)
        await settings.steer_bus(self._switch)
        audit = TradeAuditSubscriber(bus, pool)
        announcer = ConfigAnnouncer(bus, connect, listens=listens)
        await self.analytics.start()
        await audit.start()
        self._stack.push_async_callback(announcer.stop)
        await announcer.start()

    async def follow(self, store: Store) -> None:
        """Shows what is stored to those who listen."""
        dropped = self._telemetry.counter("ares_otel_tail_dropped")

        def attach(function: OnCommitted | None) -> None:
            store.on_committed = function

        live = LiveEvents(self.bus, attach, dropped=dropped.inc)
        self._stack.push_async_callback(live.stop)
        await live.start()

    async def _switch(self, kind: str, url: str) -> None:
        if kind == "redis":
            await self.bus.switch("redis", url, wait_seconds=START_SECONDS)
        elif kind == "memory":
            await self.bus.switch("memory")
        else:
            raise ValueError("eventbus.type must be memory or redis")

    def _measure(self) -> None:
        bus, telemetry = self.bus, self._telemetry
        mode = telemetry.gauge("ares_otel_bus_mode")
        mode.labels(mode="memory").set_function(lambda: bus.mode == "memory")
        mode.labels(mode="redis").set_function(lambda: bus.mode == "redis")
        telemetry.gauge("ares_otel_bus_mode_since_timestamp_seconds").set_function(lambda: bus.since.timestamp())
        telemetry.gauge("ares_otel_bus_healthy").set_function(lambda: bus.mode == bus.wanted)
        telemetry.gauge("ares_otel_bus_waiting").set_function(lambda: bus.waiting)
        telemetry.gauge("ares_otel_bus_streams").set_function(lambda: self.streams.open)
