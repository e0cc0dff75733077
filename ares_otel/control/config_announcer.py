"""Publishes `config.changed` on the event bus for every committed change of a setting, whoever made it and how.

Every process follows the history and publishes; the event's id comes from the change, so that it is one event however
many processes there are. Values are not in it: they may be secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import asyncpg

from ares_otel.control.config.changes import CHANNEL, Connect
from ares_otel.control.status_changes import Publisher
from ares_otel.storage.sqlstate import DATABASE_ERRORS

TOPIC = "config.changed"
POLL_SECONDS = 10.0
"""Seconds between two looks while notifications come."""
DEAF_POLL = 1.0
START_SECONDS = 5.0
_BATCH = 500

_NEWEST = "SELECT coalesce(max(id), 0) FROM service_config_history"
_CHANGES = """
SELECT id, service_name, config_key, version, new_value IS NULL AS deleted, changed_by, change_reason, changed_at
FROM service_config_history WHERE id > $1 ORDER BY id LIMIT $2
"""

log = logging.getLogger("ares_otel.control.config_announcer")


class ConfigAnnouncer:
    """Follows the history of settings over one connection of its own."""

    def __init__(self, bus: Publisher, connect: Connect, *, listens: bool = True) -> None:
        """
        Args:
            connect: opens a connection, which is closed here.
            listens: False where LISTEN does not work, behind a pooler: then it only polls.
        """
        self._bus = bus
        self._connect = connect
        self._listens = listens
        self._last: int | None = None
        self._news = asyncio.Event()
        self._following = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Changes from now on are announced; from when the database answers, if it does not do so within seconds."""
        self._task = asyncio.create_task(self._run(), name="config announcer")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._following.wait()

    async def stop(self) -> None:
        """Safe without `start` and twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._follow(connection)
                finally:
                    connection.terminate()
            except DATABASE_ERRORS as error:
                log.debug("Changes of settings cannot be announced just now: %s", type(error).__name__)
            except Exception:
                log.exception("Changes of settings could not be announced.")
            await asyncio.sleep(DEAF_POLL)

    async def _follow(self, connection: asyncpg.Connection) -> None:
        if self._listens:
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
        if self._last is None:
            self._last = int(await connection.fetchval(_NEWEST))
        self._following.set()
        while True:
            self._news.clear()
            rows = await connection.fetch(_CHANGES, self._last, _BATCH)
            for row in rows:
                await self._bus.publish(
                    TOPIC,
                    {
                        "service_name": row["service_name"],
                        "config_key": row["config_key"],
                        "version": row["version"],
                        "deleted": row["deleted"],
                        "changed_by": row["changed_by"],
                        "reason": row["change_reason"],
                        "changed_at": row["changed_at"],
                    },
                    id=f"config-{row['id']}",
                )
                self._last = row["id"]
            if len(rows) < _BATCH:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS if self._listens else DEAF_POLL):
                        await self._news.wait()
