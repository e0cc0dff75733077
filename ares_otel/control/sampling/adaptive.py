"""Adaptive sampling: probabilities that aim at so many traces a second of each operation, whatever the load.

Every interval the root spans that came are counted (`sampling.sql`, observed), by operation and by the chance that they
had. Where spans do not tell it, that is the probability which Ares itself has handed out, from the moment on at which
every client must have asked again: roots that began before are not counted, and until there are enough others the
probability stays. Of all processes on a database one calculates at a time; what is in force is in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from ares_otel.control.sampling.facts import STATEMENTS, Measured
from ares_otel.control.sampling.observed import COMMITTING, SECONDS, count, decide, fetch
from ares_otel.control.sampling.observer import SamplingObserver, SilentSamplingObserver
from ares_otel.control.sampling.settings import SamplingSettings
from ares_otel.control.sampling.strategy import MAX_NAME, MAX_OPERATIONS, Wishes
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.tasks import end_task
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.catalog import to_datetime
from ares_otel.storage.partitions.lock import Connect, exclusive
from ares_otel.storage.sqlstate import DATABASE_ERRORS

INTERVAL = 60.0
"""Seconds between two rounds."""
CLIENT_POLL = 60.0
"""Seconds between two questions of a client: what SDKs do that nobody has told anything."""
LOCK = 0x41726573_53616D70
"""Key of the job's lock ("AresSamp")."""
LEASE = 300.0
"""Seconds after which the lock is let go, for another process to have its turn."""
ELSEWHERE = 15.0
"""Seconds until the next look whether the process that calculates is still there."""
SPREADING = 5.0
"""Seconds until every process of Ares tells clients what one has written."""
MOST_SPANS = 100_000
"""Spans of a service that one round looks at."""
FORGET = timedelta(hours=1)
"""An operation of which nothing comes for so long begins anew."""
KEEP_CHANGES = timedelta(days=7)
AT_ONCE = 200
"""Operations after which others have their turn on the loop."""
AGE_INTERVAL = 600.0
"""Seconds between two looks at what is old."""

log = logging.getLogger("ares_otel.control.sampling")


class AdaptiveSampling:
    """The job that calculates probabilities."""

    def __init__(
        self,
        connect: Connect,
        settings: SamplingSettings,
        *,
        default_ratio: Callable[[], float] = lambda: 1.0,
        interval: Callable[[], float] = lambda: INTERVAL,
        client_poll: Callable[[], float] = lambda: CLIENT_POLL,
        unwell: Callable[[], bool] = lambda: False,
        on_written: Callable[[Sequence[str]], Awaitable[None]] | None = None,
        observer: SamplingObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        pooled: bool = False,
        most_spans: int = MOST_SPANS,
    ) -> None:
        """
        Args:
            connect: opens a connection.
            interval: seconds between two rounds; asked before each.
            client_poll: seconds in which every client has asked for its strategy again.
            unwell: whether telemetry waits in a spool: then what came tells nothing.
            on_written: told of services whose probabilities were written.
            pooled: whether a pooler stands between.
        """
        self._connect = connect
        self._settings = settings
        self._default_ratio = default_ratio
        self._interval = interval
        self._client_poll = client_poll
        self._unwell = unwell
        self._on_written = on_written
        self._observer = observer or SilentSamplingObserver()
        self._clock = clock
        self._pooled = pooled
        self._most_spans = most_spans
        self._until: datetime | None = None
        self._was_unwell = False
        self._age_from = float("-inf")
        self._complaints = Complaints(log, clock)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_doing(), name="adaptive sampling")

    async def stop(self) -> None:
        """Ends; probabilities stay. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    def wake(self) -> None:
        """Looks at the interval again: a setting changed."""
        self._wake.set()

    async def run(self) -> bool:
        """One round; False when another process calculates.

        Raises asyncpg.PostgresError or OSError.
        """
        async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
            if connection is None:
                return False
            await self._round(connection)
        return True

    async def _keep_doing(self) -> None:
        await self._rest(self._interval)
        while True:
            if not self._settings.adaptive():
                self._until = None
                self._observer.elsewhere()
                await self._rest(self._interval)
                continue
            try:
                async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
                    if connection is not None:
                        await self._hold(connection)
                        continue
                self._observer.elsewhere()
                self._until = None
                await self._rest(lambda: ELSEWHERE)
            except DATABASE_ERRORS as error:
                self._fail(error)
                await self._rest(self._interval)
            except Exception:
                self._observer.failed()
                log.exception("Sampling could not be adapted for a reason that is not the database's; it goes on.")
                await self._rest(self._interval)

    async def _hold(self, connection: asyncpg.Connection) -> None:
        """Rounds with rests, until the lease ends."""
        end = self._clock.monotonic() + LEASE
        while True:
            await self._round(connection)
            await self._rest(self._interval)
            if self._clock.monotonic() >= end or not self._settings.adaptive():
                return

    def _fail(self, error: BaseException) -> None:
        self._observer.failed()
        self._complaints.about(
            type(error).__name__,
            f"Sampling could not be adapted, it is tried again: {type(error).__name__}: {error}",
        )

    async def _rest(self, seconds: Callable[[], float]) -> None:
        """Waits so long; when it is woken, it looks how long that is now."""
        began = self._clock.monotonic()
        while (left := began + seconds() - self._clock.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
            self._wake.clear()

    async def _round(self, connection: asyncpg.Connection) -> None:
        """Counts and calculates for every service with a target."""
        began = self._clock.monotonic()
        interval = timedelta(seconds=self._interval())
        now = to_datetime(self._clock.time_ns())
        until = now - timedelta(seconds=COMMITTING)
        since = until - interval
        if self._until is not None and until - 2 * interval < self._until < until:
            since = self._until
        self._until = until
        services = self._settings.adaptive()
        was_unwell, self._was_unwell = self._was_unwell, self._unwell()
        if was_unwell or self._was_unwell:  # of this time, or of its beginning, not all has come
            return
        operations = 0
        for service in services:
            wishes = self._settings.of(service)
            if wishes.target is None:  # since a moment ago
                continue
            target = max(wishes.target, wishes.lower_bound)
            try:
                operations += await self._adapt(connection, service, wishes, target, since, until, now)
            except (asyncpg.PostgresError, TimeoutError) as error:  # others have their turn
                if connection.is_closed():
                    raise
                self._fail(error)
        self._observer.counted(len(services), operations, self._clock.monotonic() - began)
        if self._clock.monotonic() >= self._age_from:
            self._age_from = self._clock.monotonic() + AGE_INTERVAL
            await _execute(connection, "forget_operations", before=now - FORGET)
            await _execute(connection, "forget_changes", before=now - KEEP_CHANGES)

    async def _adapt(
        self,
        connection: asyncpg.Connection,
        service: str,
        wishes: Wishes,
        target: float,
        since: datetime,
        until: datetime,
        now: datetime,
    ) -> int:
        """One service; returns the number of its operations."""
        rows = await fetch(connection, "operations", service=service, most=MAX_OPERATIONS)
        before = {row["operation_name"]: Measured(**row) for row in rows}
        lag = timedelta(seconds=self._client_poll() + SPREADING)
        changed = self._settings.changed_at(service)
        begin = None if changed is None else changed + lag
        follow = {name: max(one.changed_at + lag, begin or one.changed_at) for name, one in before.items()}
        counted = await count(connection, service, since, until, follow, begin, self._most_spans)
        initial = wishes.initial(self._default_ratio())
        written: list[tuple[Measured, float | None]] = []
        for number, name in enumerate([*before, *(name for name in counted.kinds if name not in before)]):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            one = before.get(name)
            if len(name) > MAX_NAME or wishes.rule_for(name, counted.kinds.get(name, ())) is not None:
                continue
            if one is None and (len(before) + len(written) >= MAX_OPERATIONS or not initial):
                continue
            follows = begin if one is None else follow[name]
            probability = initial if one is None else one.probability
            found = decide(counted, name, probability, one, follows, target)
            if found is None:
                continue
            wanted, rate, is_followed = found
            is_changed = one is None or abs(wanted - probability) > 0.01 * probability
            wanted = wanted if is_changed else probability
            in_use = [probability] if one is None or is_followed else [one.least_in_use, one.most_in_use]
            written.append(
                (
                    Measured(
                        name,
                        wanted,
                        now if one is None or is_changed else one.changed_at,
                        min(*in_use, wanted),
                        max(*in_use, wanted),
                        rate.sampled,
                        rate.offered,
                        now,
                        now if rate.roots or one is None else one.last_seen,
                    ),
                    None if one is None else one.probability,
                )
            )
        if written:
            await self._write(connection, service, written, target, now)
        return len(before.keys() | {one.operation_name for one, _ in written})

    async def _write(
        self,
        connection: asyncpg.Connection,
        service: str,
        written: Sequence[tuple[Measured, float | None]],
        target: float,
        now: datetime,
    ) -> None:
        """State and changes in one transaction; then those who answer clients hear of it."""
        changes = [(one, old) for one, old in written if old != one.probability]
        async with connection.transaction():
            await _execute(
                connection,
                "write_operations",
                service=service,
                now=now,
                names=[one.operation_name for one, _ in written],
                probabilities=[one.probability for one, _ in written],
                changed=[one.changed_at for one, _ in written],
                least=[one.least_in_use for one, _ in written],
                most=[one.most_in_use for one, _ in written],
                sampled=[one.sampled_per_second for one, _ in written],
                offered=[one.offered_per_second for one, _ in written],
                seen=[one.last_seen for one, _ in written],
            )
            await _execute(
                connection,
                "write_changes",
                service=service,
                now=now,
                target=target,
                names=[one.operation_name for one, _ in changes],
                old=[old for _, old in changes],
                new=[one.probability for one, _ in changes],
                sampled=[one.sampled_per_second for one, _ in changes],
                offered=[one.offered_per_second for one, _ in changes],
            )
        for one, old in changes:
            self._observer.changed("new" if old is None else "up" if one.probability > old else "down")
        if self._on_written is not None and changes:
            await self._on_written([service])


async def _execute(connection: asyncpg.Connection, name: str, **values: Any) -> None:
    text, arguments = STATEMENTS[name].bind(values)
    await connection.execute(text, *arguments, timeout=SECONDS)
