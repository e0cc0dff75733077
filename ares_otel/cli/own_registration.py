"""Ares stands in its own registry, like any service: registered, with heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from ares_otel.control.registry import Registration, Registry, ServiceId, ServiceNotFound
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

SLICE = 2.0
"""Seconds after which the interval is looked at again."""

log = logging.getLogger("ares_otel.control.own")


class OwnRegistration:
    """Registers Ares and sends its heartbeats, one in every interval, from `start` to `stop`. A database that is away
    costs a beat, not the task."""

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
        id: ServiceId | None = None
        while True:
            try:
                if id is None:
                    row, _ = await self._registry.register(self._service)
                    id = ServiceId(row.id)
                await self._registry.heartbeat(id)
            except ServiceNotFound:
                id = None  # somebody took it off the registry; Ares is still here
                continue
            except (DatabaseUnavailable, QueryTooSlow) as error:
                log.debug("Ares's own heartbeat was not written: %s", error)
            waited = 0.0
            while (left := max(1.0, self._interval()) - waited) > 0:  # the interval may be made shorter meanwhile
                await asyncio.sleep(min(SLICE, left))
                waited += min(SLICE, left)
