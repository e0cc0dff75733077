"""Ares stands in its own registry, like any service: registered, with heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from ares_otel.control.registry import Registration, Registry
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

log = logging.getLogger("ares_otel.control.own")


class OwnRegistration:
    """Renews Ares's registration in every heartbeat interval, from `start` to `stop`. A database that is away costs a
    beat, not the task."""

    def __init__(self, registry: Registry, service: Registration, interval: Callable[[], float]) -> None:
        self._registry = registry
        self._service = service
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="own heartbeat")

    async def stop(self) -> None:
        """Ends the heartbeats. Safe without `start` and twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _beat(self) -> None:
        while True:
            try:
                await self._registry.register(self._service)
            except (DatabaseUnavailable, QueryTooSlow) as error:
                log.debug("Ares's own heartbeat was not written: %s", error)
            await asyncio.sleep(max(1.0, self._interval()))
