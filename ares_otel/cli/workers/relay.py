"""What a worker tells its supervisor of stored batches: who sent them, and the live tail for those who listen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ares_otel.cli.workers.channel import Channel
from ares_otel.storage.rows.encoded import ServiceSeen

SEEN_SECONDS = 1.0
SEEN_LIMIT = 10_000
"""Senders in one note at most; the registry's own limit is the same."""


class RelayedAudience:
    """The supervisor's event bus, seen from a worker (`eventbus.live.Audience`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wanted: frozenset[str] = frozenset()

    def wants(self, topics: list[str]) -> None:
        """The supervisor's note `wanted`: the topics that somebody listens to."""
        self._wanted = frozenset(topics)

    async def publish(self, topic: str, data: Any) -> bool:
        """Hands the event on; one that the supervisor has no room for is left out, as a slow listener's would be."""
        return self._channel.note("event", topic=topic, data=data)

    def wanted_by_anyone(self, topic: str) -> bool:
        return topic in self._wanted


class SeenRelay:
    """Collects senders and tells the supervisor once a second: it has the registry."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[tuple[str, str], ServiceSeen] = {}
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def seen(self, services: Iterable[ServiceSeen]) -> None:
        """Never waits."""
        for service in services:
            if len(self._waiting) < SEEN_LIMIT:
                self._waiting.setdefault((service.name, service.instance_id), service)
        self._filled.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._tell(), name="senders seen")

    async def stop(self) -> None:
        """Tells what waits, then ends. Safe without `start` and twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._flush()

    async def _tell(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._flush()
            await asyncio.sleep(SEEN_SECONDS)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._channel.note("seen", services=[list(service) for service in waiting.values()])
