"""The job on the index of series: makes it anew when the rules change, looks for what reads did not find, and removes
what telemetry no longer has.

Reads keep the index up to date with new series by themselves (`indexing.catch_up`), and answer from it while it is made
anew. Of all processes on a database one does the job at a time; it can be killed anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from uuid import UUID

import orjson

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import AresError
from ares_otel.model.tasks import end_task
from ares_otel.query.prometheus.indexing import (
    LABELS_LOCK,
    LOCK_SECONDS,
    PAGE,
    STATEMENTS,
    State,
    add_missing,
    catch_up,
    store,
    store_resources,
)
from ares_otel.query.prometheus.translation import VERSION, config_of
from ares_otel.query.reader import Reader
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.partitions.lock import Connect, exclusive
from ares_otel.storage.sqlstate import DATABASE_ERRORS

INTERVAL = 15.0
"""Seconds between two rounds."""
WHOLE_INTERVAL = 600.0
"""Seconds between two looks at everything."""
LOCK = 0x41726573_50726F6D
"""Key of the job's lock ("AresProm")."""
LEASE = 300.0
"""Seconds after which the lock is let go, for another process to have its turn."""
ELSEWHERE = 15.0
"""Seconds until the next look whether the process that does the job is still there."""
REMOVED_AT_ONCE = 2000

log = logging.getLogger("ares_otel.query.prometheus")


class IndexObserver(Protocol):
    """Told about the index. Must not raise."""

    def series(self, counts: Mapping[str, int]) -> None:
        """So many series are indexed (`indexed`), or have no form in Prometheus (by reason)."""

    def translated(self, series: int) -> None:
        """So many series were translated by the job."""

    def failed(self) -> None:
        """A round failed."""


class SilentIndexObserver:
    """Tells nobody."""

    def series(self, counts: Mapping[str, int]) -> None: ...
    def translated(self, series: int) -> None: ...
    def failed(self) -> None: ...


class SeriesIndex:
    """Keeping the index in the background."""

    def __init__(
        self,
        connect: Connect,
        *,
        options: Callable[[], Mapping[str, Any] | None] = dict,
        observer: IndexObserver | None = None,
        clock: Clock = SYSTEM_CLOCK,
        pooled: bool = False,
    ) -> None:
        """
        Args:
            connect: opens a connection.
            options: how to translate, see `translation.config_of`; asked before each round. None leaves what is in
                force.
            pooled: whether a pooler stands between.
        """
        self._connect = connect
        self._options = options
        self._observer = observer or SilentIndexObserver()
        self._clock = clock
        self._pooled = pooled
        self._whole_from = float("-inf")
        self._revision: int | None = None
        """By which everything was translated."""
        self._complaints = Complaints(log, clock)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_doing(), name="prometheus index")

    async def stop(self) -> None:
        """Ends; the next process goes on. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    def wake(self) -> None:
        """Begins the next round soon: a setting changed."""
        self._wake.set()

    async def run(self) -> bool:
        """One round that looks at everything; False when another process does the job.

        Raises asyncpg.PostgresError, OSError, DatabaseUnavailable or QueryTooSlow.
        """
        async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
            if connection is None:
                return False
            self._whole_from = float("-inf")
            await self._round(Reader(connection))
        return True

    async def _keep_doing(self) -> None:
        while True:
            rest = ELSEWHERE
            try:
                async with exclusive(self._connect, LOCK, pooled=self._pooled) as connection:
                    if connection is not None:
                        await self._hold(Reader(connection))
                        rest = 0.0
            except (*DATABASE_ERRORS, AresError) as error:
                self._observer.failed()
                self._complaints.about(
                    type(error).__name__,
                    f"The index of series for Prometheus could not be kept up, it is tried again: {error}",
                )
            except Exception:
                self._observer.failed()
                log.exception("Keeping the index of series failed for a reason that is not the database's; it goes on.")
            await self._sleep(rest)

    async def _hold(self, reader: Reader) -> None:
        """Rounds with rests, until the lease ends."""
        end = self._clock.monotonic() + LEASE
        while self._clock.monotonic() < end:
            await self._round(reader)
            await self._sleep(INTERVAL)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _round(self, reader: Reader) -> None:
        await self._set_translation(reader)
        state = await catch_up(reader, patient=True)
        whole = self._clock.monotonic() >= self._whole_from
        removed = 0
        if whole or state.revision != self._revision:  # a process that had not heard of it may add a few later
            removed = await self._translate_again(reader, state)
            self._revision = state.revision
        if whole:
            added, _ = await add_missing(reader, state, lately=False)
            self._observer.translated(added)
            removed += await _remove_gone(reader)
            if removed:
                await _remove_labels(reader)
            rows = await reader.fetch(STATEMENTS["counts"])
            self._observer.series({row["state"]: row["series"] for row in rows})
            self._whole_from = self._clock.monotonic() + WHOLE_INTERVAL
        elif removed:
            self._whole_from = float("-inf")  # the next round removes labels

    async def _set_translation(self, reader: Reader) -> None:
        """Puts the options into force; those that exclude each other leave the others in force."""
        options = self._options()
        if options is None:
            return
        options = {name: value for name, value in options.items() if value is not None}
        try:
            config_of(options)
        except (ValueError, TypeError) as error:
            self._complaints.about("options", f"The settings prometheus.* stay as they were: {error}")
            return
        await reader.fetch(
            STATEMENTS["set_translation"],
            translation=orjson.dumps(options, option=orjson.OPT_SORT_KEYS).decode(),
            version=VERSION,
        )

    async def _translate_again(self, reader: Reader, state: State) -> int:
        """Translates what was translated by other rules; how many series and resources."""
        count = 0
        while rows := await reader.fetch(STATEMENTS["outdated"], revision=state.revision, limit=PAGE):
            await store(reader, [row["series_id"] for row in rows], state, anew=True)
            self._observer.translated(len(rows))
            count += len(rows)
        while rows := await reader.fetch(STATEMENTS["outdated_resources"], revision=state.revision, limit=PAGE):
            await store_resources(reader, [row["resource_id"] for row in rows], state)
            count += len(rows)
        return count


async def _remove_gone(reader: Reader) -> int:
    """Removes series and resources that telemetry no longer has; how many rows."""
    removed, after = 0, None
    while rows := await reader.fetch(STATEMENTS["indexed"], after=after, limit=REMOVED_AT_ONCE):
        ids: list[UUID] = [row["series_id"] for row in rows]
        removed += len(await reader.fetch(STATEMENTS["remove_gone"], ids=ids))
        after = ids[-1]
    return removed


async def _remove_labels(reader: Reader) -> None:
    """Removes labels that no series has, while nobody adds any."""
    after = 0
    while rows := await reader.fetch(STATEMENTS["labels"], after=after, limit=REMOVED_AT_ONCE):
        ids: list[int] = [row["label_id"] for row in rows]
        async with reader.transaction(lock_timeout=LOCK_SECONDS):
            await reader.fetch(STATEMENTS["keep_labels_out"], key=LABELS_LOCK)
            await reader.fetch(STATEMENTS["remove_labels"], ids=ids)
        after = ids[-1]
