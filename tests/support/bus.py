"""What tests of the event bus need: buses on an adapter, and subscribers that note what they got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ares_otel.eventbus.switching import SwitchingBus
from ares_otel.model.bus import Event
from tests.support.redis import RedisServer


class Listener:
    """A handler that notes every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def data(self) -> list[Any]:
        return [event.data for event in self.events]


class Buses:
    """Makes buses of an adapter, and closes them at the end."""

    def __init__(self, server: RedisServer | None) -> None:
        self.server = server
        self._made: list[SwitchingBus] = []

    async def make(self, *, wait: bool = True, **options: Any) -> SwitchingBus:
        """A bus as a process has it, with connections of its own."""
        bus = SwitchingBus(**options)
        self._made.append(bus)
        if self.server is not None:
            await bus.switch("redis", self.server.url, wait_seconds=10 if wait else 0)
            assert bus.mode == "redis" or not wait
        return bus

    async def close(self) -> None:
        await asyncio.gather(*(bus.close() for bus in self._made))


@asynccontextmanager
async def buses(server: RedisServer | None) -> AsyncIterator[Buses]:
    made = Buses(server)
    try:
        yield made
    finally:
        await made.close()


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Waits until something has become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.01)
