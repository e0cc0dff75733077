"""The settings `sampling.*` of all services, followed on one connection.

A change is found by `LISTEN ares_config` at once and by looking every `POLL_SECONDS` anyway. Only services that the
history names are read again: with ten thousand services a change costs what it costs with one. While the database is
away the last known settings stay in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from ares_otel.control.config.changes import CHANNEL, Connect
from ares_otel.control.sampling.keys import KEYS, problem_of
from ares_otel.control.sampling.strategy import NOTHING, Wishes
from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.model.tasks import end_task
from ares_otel.storage.complaints import Complaints
from ares_otel.storage.sqlstate import DATABASE_ERRORS

POLL_SECONDS = 5.0
"""Seconds between two looks without a notification; `DEAF_SECONDS` where none can come."""
DEAF_SECONDS = 1.0
RETRY_FIRST, RETRY_MOST = 0.1, 5.0
PAUSE = 0.02
"""Seconds between two looks at least: a burst of changes is read in a few."""
MAX_SERVICES = 20_000
"""Services whose settings are kept in memory."""
MAX_VALUE = 200_000
"""Characters of a value: no good one is longer."""
AT_ONCE = 1000
"""Services that are read again one by one; when more have changed, all are read."""

_VALUES = f"""
SELECT service_name, config_key, version, is_encrypted, last_updated,
       CASE WHEN length(config_value::text) <= {MAX_VALUE} THEN config_value::text END AS value
FROM service_config
WHERE config_key = ANY ($1::text[])
"""  # noqa: S608 - nothing in it comes from outside
_NEWEST = "SELECT coalesce(max(id), 0) FROM service_config_history"
_CHANGED = """
SELECT DISTINCT service_name FROM service_config_history
WHERE id > $1 AND id <= $2 AND config_key = ANY ($3::text[]) LIMIT $4
"""

log = logging.getLogger("ares_otel.control.sampling")


@dataclass(slots=True)
class _Service:
    """What is in force of one service."""

    values: dict[str, Any] = field(default_factory=dict)
    wishes: Wishes = NOTHING
    changed_at: datetime | None = None
    told: dict[str, int] = field(default_factory=dict)


class SamplingSettings:
    """Wishes of every service that has any. Reading them never waits."""

    def __init__(self, connect: Connect, *, listens: bool = True, poll_seconds: float | None = None) -> None:
        """
        Args:
            connect: opens a connection of its own, which is closed here.
            listens: False where notifications do not pass, as behind a pooler.
        """
        self._connect = connect
        self._listens = listens
        self._poll_seconds = poll_seconds or (POLL_SECONDS if listens else DEAF_SECONDS)
        self._services: dict[str, _Service] = {}
        self._seen: int | None = None
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said_too_many = False
        self._complaints = Complaints(log, SYSTEM_CLOCK)
        self.on_change: Callable[[Collection[str]], None] = lambda services: None
        """Called with the services whose wishes have changed."""

    async def start(self) -> None:
        """Reads the settings and follows them. Returns after the first attempt."""
        if self._task is None:
            self._tried.clear()
            self._task = asyncio.create_task(self._run(), name="sampling settings")
            await self._tried.wait()

    async def stop(self) -> None:
        """Ends; what is in force stays. Safe without `start` and twice."""
        task, self._task = self._task, None
        await end_task(task)

    def of(self, service: str) -> Wishes:
        """The wishes of a service; `NOTHING` for one without settings."""
        found = self._services.get(service)
        return NOTHING if found is None else found.wishes

    def values(self, service: str) -> dict[str, Any]:
        """The values in force, by key."""
        found = self._services.get(service)
        return {} if found is None else dict(found.values)

    def changed_at(self, service: str) -> datetime | None:
        """When a setting of the service was changed last, as far as it is in force."""
        found = self._services.get(service)
        return None if found is None else found.changed_at

    def adaptive(self) -> list[str]:
        """Services whose probabilities follow the load, sorted."""
        return sorted(name for name, found in self._services.items() if found.wishes.adaptive)

    async def _run(self) -> None:
        delay = RETRY_FIRST
        while True:
            connection: asyncpg.Connection | None = None
            try:
                connection = await self._connect()
                self._seen = None  # it may be another database than before
                if self._listens:
                    connection.add_termination_listener(lambda *_: self._wake.set())
                    await connection.add_listener(CHANNEL, self._heard)
                while True:
                    await self._look(connection)
                    delay = RETRY_FIRST
                    await asyncio.sleep(PAUSE)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_seconds):
                            await self._wake.wait()
                    self._wake.clear()
            except DATABASE_ERRORS as error:
                self._complaints.about(
                    "away",
                    f"Settings of sampling cannot be read ({type(error).__name__}); the last known ones stay.",
                )
            except Exception as error:  # a mistake of ours must not end the following for good
                log.error("Settings of sampling could not be taken over: %s", type(error).__name__, exc_info=error)
            finally:
                if connection is not None:
                    connection.terminate()
            self._tried.set()
            await asyncio.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(2 * delay, RETRY_MOST)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """A notification names the key; one that is about another kind of setting is none of ours."""
        try:
            told = json.loads(str(payload))
            key = told.get("key") if isinstance(told, dict) else None
        except (ValueError, RecursionError):
            key = None
        if not isinstance(key, str) or key in KEYS:
            self._wake.set()

    async def _look(self, connection: asyncpg.Connection) -> None:
        """Takes over what has changed. The number is older than the rows at worst: then they are read once more."""
        newest: int = await connection.fetchval(_NEWEST)
        if newest == self._seen:
            self._tried.set()
            return
        changed: list[str] | None = None
        if self._seen is not None and newest > self._seen:  # else it is another database than before
            rows = await connection.fetch(_CHANGED, self._seen, newest, list(KEYS), AT_ONCE + 1)
            changed = [row["service_name"] for row in rows] if len(rows) <= AT_ONCE else None
        if changed is None:
            limit = MAX_SERVICES * len(KEYS)
            rows = await connection.fetch(f"{_VALUES} ORDER BY service_name LIMIT {limit}", list(KEYS))
            self._take_over(rows, {row["service_name"] for row in rows} | self._services.keys())
        elif changed:
            rows = await connection.fetch(f"{_VALUES} AND service_name = ANY ($2::text[])", list(KEYS), changed)
            self._take_over(rows, changed)
        self._seen = newest
        self._tried.set()

    def _take_over(self, rows: Iterable[Any], services: Iterable[str]) -> None:
        """Puts the settings of these services into force, which are all in `rows`."""
        found: dict[str, list[Any]] = {name: [] for name in services}
        for row in rows:
            found[row["service_name"]].append(row)
        changed = []
        for name, settings in found.items():
            before = self.of(name)
            if not settings:
                self._services.pop(name, None)
            elif name in self._services or len(self._services) < MAX_SERVICES:
                self._take_over_one(name, settings)
            else:
                self._say_too_many()
            if self.of(name) != before:
                changed.append(name)
        if changed:
            self.on_change(changed)

    def _take_over_one(self, name: str, settings: list[Any]) -> None:
        service = self._services.setdefault(name, _Service())
        values = {}
        for row in settings:
            key = row["config_key"]
            problem, value = _read(name, row)
            if problem is None:
                values[key] = value
                service.told.pop(key, None)
                continue
            if key in service.values:
                values[key] = service.values[key]
            if service.told.get(key) != row["version"]:
                service.told[key] = row["version"]
                log.warning(
                    "Version %d of %s/%s is not used: %s; what was before stays in force.",
                    row["version"],
                    name,
                    key,
                    problem,
                )
        if values != service.values:
            service.values = values
            service.wishes = Wishes.of(values)
            service.changed_at = max(row["last_updated"] for row in settings)

    def _say_too_many(self) -> None:
        if not self._said_too_many:
            self._said_too_many = True
            log.warning("More than %d services have settings of sampling; the others get the default.", MAX_SERVICES)


def _read(service: str, row: Any) -> tuple[str | None, Any]:
    """Why a setting cannot be used, or its value."""
    if row["is_encrypted"]:
        return "it is encrypted, and clients are told it in plain text", None
    if row["value"] is None:
        return f"it has more than {MAX_VALUE} characters", None
    try:
        value = json.loads(row["value"])
    except (ValueError, RecursionError):
        return "its JSON is too deep or holds a number that is too long", None
    problem = problem_of(service, row["config_key"], value)
    return (None if problem is None else problem.rstrip(".")), value
