"""Changes of a service's status: how they are found, and how the event bus hears of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from ares_otel.control.registry_database import STATEMENTS
from ares_otel.query.reader import Reader

TELEMETRY_GRACE = timedelta(minutes=5)
"""How long a service that is known from telemetry only may be silent at least: many send a metric a minute, and nothing
else while nobody calls them."""
MISSED = 3
"""Heartbeat intervals without a sign of life after which a service is offline; the SQL has it as a number."""
WAITING = 20_000
"""Changes that may wait for the bus; the history has them all."""
LOG_LIMIT = 20
"""Changes that are found together and logged one by one; of the rest the log has the number."""

Interval = Callable[[], float]
"""Seconds between two heartbeats, asked whenever it is needed: the setting may change while Ares runs."""

log = logging.getLogger("ares_otel.control.registry")


class Publisher(Protocol):
    """What the registry needs of an event bus; `model.bus.EventBus` has it."""

    async def publish(self, topic: str, data: Any, *, id: str | None = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A row of `service_status_history` that has just been committed."""

    history_id: int
    service_id: int
    name: str
    instance_id: str
    version: str
    old_status: str | None
    new_status: str
    reason: str
    changed_at: datetime

    @property
    def topic(self) -> str:
        return f"service.{self.new_status}"

    @property
    def event_id(self) -> str:
        """Made of the history's row; its time tells rows of two databases that share a bus apart."""
        return f"service-status-{self.history_id}-{self.changed_at.timestamp() * 1e6:.0f}"

    def data(self) -> dict[str, Any]:
        """The event's data."""
        return {
            "service_id": self.service_id,
            "name": self.name,
            "instance_id": self.instance_id,
            "version": self.version,
            "old_status": self.old_status,
            "status": self.new_status,
            "reason": self.reason,
            "changed_at": self.changed_at.isoformat(),
        }


def changes_of(records: Iterable[Any]) -> list[StatusChange]:
    """The records of a statement of `registry.sql` that changed something, as changes."""
    names = StatusChange.__slots__
    return [StatusChange(*(record[name] for name in names)) for record in records if record["history_id"] is not None]


async def judge(
    connection: Reader,
    interval: Interval,
    *,
    ids: Sequence[int] | None = None,
    listened: float | None = None,
) -> list[StatusChange]:
    """Gives services the status that their signs say, in one statement, and writes the history.

    Args:
        ids: only these; None for all of them, which one process at a time does (the others get an empty list).
        listened: seconds since this process began to listen; silence before that is not held against anybody.

    Raises:
        DatabaseUnavailable, QueryTooSlow: as their texts say.
    """
    records = await connection.fetch(
        STATEMENTS["judge"],
        beat=beat(interval),
        telemetry_grace=TELEMETRY_GRACE,
        ids=None if ids is None else list(ids),
        whole_pass=True if ids is None else None,
        listened=None if listened is None else timedelta(seconds=listened),
    )
    return changes_of(records)


def beat(interval: Interval) -> timedelta:
    """The heartbeat interval, 0.1 s to a day whatever was configured."""
    return timedelta(seconds=min(max(interval(), 0.1), 86_400.0))


class Announcer:
    """Publishes changes after their commit, one after the other, without making anybody wait for the bus.

    Only who changed the row has the change and hence announces it: once over all processes. The event's id is made of
    the history's row, so that a subscriber can know it again.
    """

    def __init__(self, bus: Publisher | None) -> None:
        self._bus = bus
        self._waiting: asyncio.Queue[StatusChange] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Changes that the bus did not get because too many waited or it refused them."""

    def announce(self, changes: Iterable[StatusChange]) -> None:
        """Hands changes over. Never waits."""
        told = 0
        for change in changes:
            told += 1
            if told <= LOG_LIMIT:
                level = logging.INFO if change.new_status == "online" else logging.WARNING
                log.log(level, "%.300r is %s: %s", change.name, change.new_status, change.reason)
            if self._bus is None:
                continue
            try:
                self._waiting.put_nowait(change)
            except asyncio.QueueFull:
                self.dropped += 1
        if told > LOG_LIMIT:
            log.warning("%d more services changed their status; see service_status_history.", told - LOG_LIMIT)
        if not self._waiting.empty() and self._task is None:
            self._task = asyncio.create_task(self._run(), name="service status events")

    async def stop(self) -> None:
        """Publishes what waits (five seconds at most), then ends. Safe twice."""
        task, self._task = self._task, None
        if task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._waiting.join()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        assert self._bus is not None
        while True:
            change = await self._waiting.get()
            try:
                await self._bus.publish(change.topic, change.data(), id=change.event_id)
            except Exception:
                self.dropped += 1
                log.exception("A change of status could not be published: %s", change.topic)
            finally:
                self._waiting.task_done()
