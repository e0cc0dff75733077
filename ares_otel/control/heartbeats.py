"""Telemetry is a sign of life: the registry hears of every service that sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable
from datetime import timedelta

import asyncpg

from ares_otel.control.registry_database import STATEMENTS, transaction
from ares_otel.control.status_changes import Announcer, Interval, beat, changes_of, judge
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.rows.encoded import ServiceSeen
from ares_otel.storage.sqlstate import DATABASE_ERRORS

THROTTLE = 10.0
"""Seconds between two notes of one instance that keeps sending, at most: or a third of a heartbeat interval."""
PAUSE = 1.0
"""Seconds between two statements: however many services there are, one statement a second at most."""
FAREWELL = timedelta(minutes=1)
"""For so long the telemetry of a service that was taken off the registry does not bring it back: its end sends what it
still had, by way of queues and retries."""
LIMIT = 10_000
"""Instances that may wait for the next statement; a flood of invented ones must not fill the memory."""

log = logging.getLogger("ares_otel.control.heartbeats")


class Heartbeats:
    """Collects the senders of stored batches and writes them to `service_registry`, throttled.

    Args:
        pool: connections to the database; the caller opens and closes it.
        interval: seconds between two heartbeats, by which a service's status is judged.
        announcer: hears of the changes of status (`Registry.announcer`).
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        interval: Interval = lambda: 30.0,
        announcer: Announcer | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._pool = pool
        self._interval = interval
        self._announcer = announcer or Announcer(None)
        self._clock = clock
        self._waiting: dict[tuple[str, str], ServiceSeen] = {}
        self._last: dict[tuple[str, str], float] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._overflowed = False
        self._complaints = Complaints(log, clock)

    def seen(self, services: Iterable[ServiceSeen]) -> None:
        """Notes that these services have just sent something. Never waits."""
        now = self._clock.monotonic()
        throttle = min(THROTTLE, beat(self._interval).total_seconds() / 3)
        for service in services:
            key = (service.name, service.instance_id)
            if now - self._last.get(key, -THROTTLE) < throttle or key in self._waiting:
                continue
            if len(self._waiting) >= LIMIT:
                if not self._overflowed:
                    self._overflowed = True
                    log.warning(
                        "More than %d new service instances within a second; the registry does not show all of them. "
                        "Check service.instance.id of your senders.",
                        LIMIT,
                    )
                return
            self._waiting[key] = service
            self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="heartbeats")

    async def stop(self) -> None:
        """Writes what waits, then ends. Safe without `start` and twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            await self._flush()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()
            await asyncio.sleep(PAUSE)

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        now = self._clock.monotonic()
        services = [waiting[key] for key in sorted(waiting)]  # everybody locks rows in the same order
        try:
            names = [service.name for service in services]
            instance_ids = [service.instance_id for service in services]
            async with transaction(self._pool) as connection:
                await connection.fetch(STATEMENTS["hold"], names=names, instance_ids=instance_ids)
                records = await connection.fetch(
                    STATEMENTS["telemetry"],
                    names=names,
                    instance_ids=instance_ids,
                    versions=[service.version for service in services],
                    metadata=[json.dumps(_metadata(service)) for service in services],
                    farewell=FAREWELL,
                )
                changes = changes_of(records)
                if doubtful := [record["service_id"] for record in records if not record["created"]]:
                    changes += await judge(connection, self._interval, ids=doubtful)
        except (DatabaseUnavailable, QueryTooSlow, *DATABASE_ERRORS) as error:
            self._complaints.about("database", f"Heartbeats could not be written: {type(error).__name__}: {error}")
            return  # they come again with the next telemetry
        self._announcer.announce(changes)
        if len(self._last) > 10 * LIMIT:
            self._last.clear()
        self._last.update(dict.fromkeys(waiting, now))


def _metadata(service: ServiceSeen) -> dict[str, str]:
    """What the registry's columns do not hold, under the semantic conventions' names."""
    named = {"service.namespace": service.namespace, "telemetry.sdk.language": service.language}
    return {name: value for name, value in named.items() if value}
