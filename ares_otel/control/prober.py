"""Asks every service's health_url, once an interval over all processes, many at a time but not too many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from ares_otel.control.probe import HealthCheck, ProbeResult
from ares_otel.control.probe_targets import ProbeTargets, Resolver
from ares_otel.control.registry_database import STATEMENTS, transaction
from ares_otel.control.status_changes import Announcer, Interval, beat, judge
from ares_otel.model.tasks import end_task
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

CONCURRENCY = 50
"""Health checks of this process at the same time."""
JITTER = 0.2
"""The next check follows after one interval and up to this part of it more, by chance: never two in an interval, and
those that registered together do not stay together."""
POLL = 2.0
"""Seconds between two looks for work where there is none; a fifth of the interval, if shorter."""
GATHER = 0.5
"""Seconds that a check which has ended waits for others, so that one statement writes them; a tenth of it while
services wait for their check."""

log = logging.getLogger("ares_otel.control.prober")


@dataclass(frozen=True, slots=True)
class _Done:
    id: int
    url: str
    result: ProbeResult


class Prober:
    """Takes due health checks from the registry, does them, and writes down how they went.

    Whoever moves a row's `next_probe_at` on does its check; a process that dies in between costs one check.

    Args:
        pool: connections to the database; the caller opens and closes it.
        interval: seconds between two heartbeats, which is the time between two checks of a service too.
        timeout: seconds that a check may take.
        targets: where checks may go.
        announcer: hears of the changes of status (`Registry.announcer`).
        on_result: hears of every check that was written down, whether it was answered well.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        interval: Interval,
        timeout: Callable[[], float],
        targets: ProbeTargets = ProbeTargets(),
        announcer: Announcer | None = None,
        on_result: Callable[[bool], None] = lambda ok: None,
    ) -> None:
        self._pool = pool
        self._interval = interval
        self._timeout = timeout
        self._targets = targets
        self._announcer = announcer or Announcer(None)
        self._running: set[asyncio.Task[None]] = set()
        self._done: list[_Done] = []
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._on_result = on_result

    @property
    def running(self) -> int:
        """Checks that are under way."""
        return len(self._running)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="prober")

    async def stop(self) -> None:
        """Ends the checks that are under way. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    async def _run(self) -> None:
        resolver = Resolver()
        check = HealthCheck(self._targets, resolver)
        try:
            while True:
                more, failed = False, True
                try:
                    await self._write()
                    more = await self._take(check)
                    self._away = failed = False
                except (DatabaseUnavailable, QueryTooSlow) as error:
                    if not self._away:
                        log.warning("Health checks rest: %s", error.message)
                    self._away = True
                except Exception:
                    log.exception("Health checks could not be taken or written; the next attempt follows.")
                pause = min(POLL, beat(self._interval).total_seconds() / 5)
                if self._running and not failed:
                    timeout = None if more else pause
                    await asyncio.wait(self._running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if self._done and not failed:
                    await asyncio.sleep(GATHER / 10 if more else GATHER)
                elif failed or not self._running:
                    await asyncio.sleep(pause)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            resolver.close()
            await check.close()

    async def _take(self, check: HealthCheck) -> bool:
        """Takes as many checks as may run and starts them. Returns whether there may be more."""
        free = CONCURRENCY - len(self._running)
        if free <= 0:
            return True
        timeout = self._seconds()
        # A check that hangs is over before the next one of the same service begins.
        pause = max(beat(self._interval), timedelta(seconds=timeout))
        async with transaction(self._pool) as connection:
            claimed: Sequence[Any] = await connection.fetch(
                STATEMENTS["claim_probes"], pause=pause, jitter=JITTER, limit=free
            )
        for record in claimed:
            task = asyncio.create_task(self._check(check, record["id"], record["health_url"], timeout))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(claimed) == free

    async def _check(self, check: HealthCheck, id: int, url: str, timeout: float) -> None:
        try:
            result = await check.check(url, timeout)
        except Exception:
            log.exception("A health check failed in a way that nobody expected.")
            result = ProbeResult(False, "The check itself failed; Ares's log has the reason.", None)
        self._done.append(_Done(id, url, result))

    async def _write(self) -> None:
        """Writes down the checks that are done, and gives the services their status."""
        done = self._done[: 10 * CONCURRENCY]
        if not done:
            return
        async with transaction(self._pool) as connection:
            written = await connection.fetch(
                STATEMENTS["probed"],
                ids=[item.id for item in done],
                urls=[item.url for item in done],
                oks=[item.result.ok for item in done],
                errors=[item.result.error for item in done],
                latencies=[item.result.latency_ms for item in done],
            )
            changes = await judge(connection, self._interval, ids=[record["id"] for record in written])
        del self._done[: len(done)]
        for item in done:
            self._on_result(item.result.ok)
        self._announcer.announce(changes)

    def _seconds(self) -> float:
        """The time-out, 0.1 s to five minutes whatever was configured."""
        return min(max(self._timeout(), 0.1), 300.0)
