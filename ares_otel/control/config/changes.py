"""Word of changes, for those who watch: one connection listens for all of them, the table says what happened.

A notification only wakes a watcher up; what it tells is read from the history, by id. So nothing is missed when
notifications are lost, nothing is told twice, and a watcher that reads slowly costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg

from ares_otel.control.config.rows import Change
from ares_otel.control.config.service import ConfigService, Settings
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.storage.sqlstate import DATABASE_ERRORS

CHANNEL = "ares_config"
"""Where the triggers announce changes, as JSON with `service`, `key`, `version` and `id`."""
LISTENING_POLL = 10.0
"""Seconds between two looks while notifications come: for those that were lost."""
DEAF_POLL = 1.0
"""Seconds between two looks while they do not: the connection is down, or a pooler keeps it from listening."""
MAX_WATCHERS = 100
_RETRY = 1.0
_BATCH = 20
"""Changes read at once: a value may have a megabyte."""

log = logging.getLogger("ares_otel.control.config")

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class TooManyWatchers(Exception):
    """There are as many watchers as this process serves."""


class ChangeFeed:
    """Changes of settings as they are committed. `start` begins to listen; `stop` ends every watcher."""

    def __init__(self, service: ConfigService, connect: Connect, *, listens: bool = True) -> None:
        """
        Args:
            connect: opens a connection of its own, which is closed here.
            listens: False where LISTEN does not work, behind a pooler that pools transactions: then it only polls.
        """
        self._service = service
        self._connect = connect
        self._listens = listens
        self._hears = False
        self._news = asyncio.Event()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self.watchers = 0
        """How many there are now."""

    async def start(self) -> None:
        """Returns at once; a database that is away is tried again."""
        if self._listens and self._task is None and not self._stopped:
            self._task = asyncio.create_task(self._listen(), name="config notifications")

    async def stop(self) -> None:
        """Ends every watcher. Safe without `start` and twice."""
        self._stopped = True
        self._wake()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def watch(
        self, service: str, *, after: int | None = None
    ) -> tuple[tuple[int, Settings] | None, AsyncIterator[Change | None]]:
        """The settings as they are, with the id of the newest change, and then every change in the order of commits.

        The iterator gives None when it has nothing to tell for `LISTENING_POLL` seconds at most, and ends at `stop`. It
        must be closed (`aclose`), for it counts as a watcher until then. While the database is away it waits.

        Args:
            after: goes on behind the change with this id, without the settings as they are. An id that is not reached
                yet is from another database: then it starts anew.

        Raises:
            TooManyWatchers, InvalidSetting, DatabaseUnavailable, QueryTooSlow
        """
        if self.watchers >= MAX_WATCHERS or self._stopped:
            raise TooManyWatchers
        snapshot = None
        if after is None or after > await self._service.newest_change():
            snapshot = await self._service.snapshot(service)
            after = snapshot[0]
        if self.watchers >= MAX_WATCHERS or self._stopped:
            raise TooManyWatchers
        return snapshot, self._follow(service, after)

    async def _follow(self, service: str, after: int) -> AsyncIterator[Change | None]:
        self.watchers += 1
        try:
            while not self._stopped:
                news = self._news  # before the look: what comes after it wakes
                try:
                    found = await self._service.changes(service, after, limit=_BATCH)
                except (DatabaseUnavailable, QueryTooSlow):
                    found = []
                for change in found:
                    after = change.id
                    yield change
                if len(found) == _BATCH:
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTENING_POLL if self._hears else DEAF_POLL):
                        await news.wait()
                    continue
                yield None
        finally:
            self.watchers -= 1

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _listen(self) -> None:
        """Holds a listening connection; opens another when it breaks."""
        while True:
            try:
                connection = await self._connect()
            except (*DATABASE_ERRORS, ValueError):
                await asyncio.sleep(_RETRY)
                continue
            gone = asyncio.Event()
            try:
                connection.add_termination_listener(lambda *_, gone=gone: gone.set())
                await connection.add_listener(CHANNEL, self._heard)
                self._hears = True
                self._wake()  # whatever happened while nobody listened
                await gone.wait()
            except DATABASE_ERRORS:
                log.debug("Listening for changes of settings failed; trying again.", exc_info=True)
            finally:
                self._hears = False
                connection.terminate()
            await asyncio.sleep(_RETRY)

    def _heard(self, *_: Any) -> None:
        self._wake()
