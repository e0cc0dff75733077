"""The settings of a service as a process sees them: in memory, always there, and up to date without a restart.

One task with one connection follows the database: `LISTEN ares_config` tells of a change at once, and every
`POLL_SECONDS` it looks anyway, so that a lost notification, or a pooler that passes none on, costs seconds and not the
change. Every look is one statement, hence one committed snapshot, and looks follow each other: a process never sees an
older state after a newer one. While the database is away the last known values stay in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Collection, Mapping
from typing import Any

import asyncpg

from ares_otel.control.config_values import Check
from ares_otel.control.config_view import Found, SettingsView
from ares_otel.control.crypto import CryptoError, Keyring
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.tasks import end_task
from ares_otel.storage.sqlstate import DATABASE_ERRORS

CHANNEL = "ares_config"
"""A notification's payload is a JSON object that names the service, never a value."""
POLL_SECONDS = 10.0
"""Seconds between two looks without a notification. A dead connection is found at the next one, so that a change
arrives within 30 s: this, `TIMEOUT`, and a reconnection."""
TIMEOUT = 5.0
"""Seconds that a statement or a connection may take before the connection counts as dead."""
RETRY_FIRST, RETRY_MOST = 0.1, 5.0
"""Seconds between two attempts to reach the database; doubled each time."""
PAUSE = 0.02
"""Seconds between two looks at least: a burst of changes is read in a few."""
APPLICATION = "ares-otel config"

_FINGERPRINT = """
SELECT (SELECT coalesce(max(id), 0) FROM service_config_history WHERE service_name = ANY ($1::text[])) || ' ' ||
       count(*) || ' ' || coalesce(sum(hashtextextended(
           jsonb_build_array(service_name, config_key, version, is_encrypted, config_value)::text, 0)), 0)
FROM service_config
WHERE service_name = ANY ($1::text[])
"""
_ENTRIES = """
SELECT newest, service_name, config_key, config_value::text AS value, is_encrypted, version, updated_by
FROM (SELECT coalesce(max(id), 0) FROM service_config_history WHERE service_name = ANY ($1::text[])) AS h (newest)
LEFT JOIN service_config ON service_name = ANY ($1::text[])
"""
"""One row at least, and all of one snapshot: where there are no settings, it tells the newest change alone."""

log = logging.getLogger("ares_otel.control.config_manager")


class ConfigManager(SettingsView):
    """Settings of one or more services, hot. One per process; getters never wait."""

    def __init__(
        self,
        url: str,
        *,
        services: Collection[str] = ("ares-api",),
        keyring: Keyring | None = None,
        check: Check | None = None,
        listen: bool = True,
        poll_seconds: float = POLL_SECONDS,
        connect_options: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        starts_silently: bool = True,
        logger: logging.Logger = log,
    ) -> None:
        """
        Args:
            url: the database.
            services: whose settings; the first one is what the getters mean unless they name another.
            keyring: opens encrypted values; without it they count as values that cannot be read.
            check: what a known key may hold; what it refuses does not come into force.
            listen: False where notifications do not pass, as behind a pooler: then only polling finds changes.
            poll_seconds: seconds between two looks without a notification.
            connect_options: more options for `asyncpg.connect`.
            starts_silently: False tells the callbacks of the first settings too, for those who do not wait for `start`.
            logger: where it is said what is wrong.
        """
        if not services:
            raise ValueError("A ConfigManager needs at least one service.")
        self._url = url
        super().__init__(services, check=check, log=logger)
        self._keyring = keyring or Keyring()
        self._listen = listen
        self._poll_seconds = poll_seconds
        self._connect_options = dict(connect_options or {})
        self._clock = clock
        self._starts_silently = starts_silently
        self._fingerprint: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._away = False
        self._last_read: float | None = None
        self.connected = False
        """Whether the last look at the database succeeded."""

    async def start(self) -> None:
        """Reads the settings and follows them from now on. When the database does not answer, that is said once, the
        getters give defaults, and the settings come into force when it does."""
        if self._task is not None:
            return
        if not self._listen:
            self._log.info(
                "Configuration changes are found by looking every %g s: notifications do not pass here.",
                self._poll_seconds,
            )
        self._tried.clear()
        self._task = asyncio.create_task(self._run(), name="config manager")
        await self._tried.wait()

    async def stop(self) -> None:
        """Ends the task, the connection and the callbacks; the last values stay readable. Safe without `start` and
        twice."""
        task, self._task = self._task, None
        await end_task(task)
        for subscription in list(self._subscriptions):
            await subscription.stop()

    def refresh(self) -> None:
        """Looks at the database now, and at everything: what could not be decrypted may open with a new key."""
        self._fingerprint = None
        self._wake.set()

    @property
    def age_seconds(self) -> float:
        """Seconds since the settings were last seen in the database; infinite before the first time."""
        return float("inf") if self._last_read is None else self._clock.monotonic() - self._last_read

    async def _run(self) -> None:
        delay = RETRY_FIRST
        while True:
            connection: asyncpg.Connection | None = None
            try:
                connection = await self._connect()
                while True:
                    await self._look(connection)
                    delay = RETRY_FIRST
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_seconds):
                            await self._wake.wait()
                    self._wake.clear()
            except DATABASE_ERRORS as error:
                self._lost(error)
            except Exception as error:  # a mistake of ours must not end the following for good
                self._log.error("The configuration could not be taken over: %s", type(error).__name__, exc_info=error)
            finally:
                if connection is not None:
                    connection.terminate()
            self._tried.set()
            await asyncio.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(2 * delay, RETRY_MOST)

    async def _connect(self) -> asyncpg.Connection:
        options = {"timeout": TIMEOUT, "command_timeout": TIMEOUT, **self._connect_options}
        if self._listen:  # a pooler refuses settings at connection time
            options["server_settings"] = {"application_name": APPLICATION, **options.get("server_settings", {})}
        connection = await asyncpg.connect(self._url, **options)
        if self._listen:
            try:
                connection.add_termination_listener(lambda _: self._wake.set())
                await connection.add_listener(CHANNEL, self._heard)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """A notification came; one that is about another service is none of ours."""
        try:
            told = json.loads(str(payload))
            service = (told.get("service") or told.get("service_name")) if isinstance(told, dict) else None
        except (ValueError, RecursionError):
            service = None
        if not isinstance(service, str) or service in self._entries:
            self._wake.set()

    async def _look(self, connection: asyncpg.Connection) -> None:
        """Takes over what the database holds now. The fingerprint is older than the entries at worst: then the next
        look reads them once more."""
        services = list(self._services)
        fingerprint = await connection.fetchval(_FINGERPRINT, services)
        if fingerprint != self._fingerprint:
            rows = await connection.fetch(_ENTRIES, services)
            found = [self._found(row) for row in rows if row["service_name"] is not None]
            self._take_over(found, rows[0]["newest"], silently=self._last_read is None and self._starts_silently)
            self._fingerprint = fingerprint
        self._last_read = self._clock.monotonic()
        self.connected = True
        self._tried.set()
        if self._away:
            self._away = False
            self._log.info("The configuration is read from the database again.")
        await asyncio.sleep(PAUSE)

    def _lost(self, error: BaseException) -> None:
        self.connected = False
        if not self._away and not (isinstance(error, _ENDED) and self._last_read is not None):
            self._log.warning(
                "The configuration cannot be read (%s); the last known values stay in force.", type(error).__name__
            )
            self._away = True

    def _found(self, row: Any) -> Found:
        """A row of `service_config`, opened."""
        service, key = row["service_name"], row["config_key"]
        value, problem = None, ""
        try:
            value = json.loads(row["value"])
            if row["is_encrypted"]:
                value = self._keyring.decrypt(service, key, value)
        except CryptoError as error:
            problem = error.message.rstrip(".")
        except (ValueError, RecursionError):
            problem = "its JSON is too deep or holds a number that is too long"
        return Found(service, key, row["version"], value, problem, row["updated_by"], row["is_encrypted"])


_ENDED = (asyncpg.ConnectionDoesNotExistError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)
"""An idle connection was closed, as by a restart or a firewall: worth a line only when the next attempt fails."""
