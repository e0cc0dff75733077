"""The settings of a service as a process sees them: in memory, always there, and up to date without a restart.

One task with one connection follows the database: `LISTEN ares_config` tells of a change at once, and every
`POLL_SECONDS` it looks anyway, so that a lost notification, or a pooler that passes none on, costs seconds and not the
change. Every look is one statement, hence one committed snapshot, and looks follow each other: a process never sees an
older state after a newer one. While the database is away the last known values stay in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import random
from collections.abc import Collection, Mapping
from typing import Any

import asyncpg

from ares_otel.control.config.values import same_json
from ares_otel.control.config_callbacks import Callback, Subscription
from ares_otel.control.config_values import Check, ConfigChange, Entry
from ares_otel.control.crypto import CryptoError, Keyring
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
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
SELECT count(*) || ' ' || coalesce(sum(hashtextextended(
           jsonb_build_array(service_name, config_key, version, is_encrypted, config_value)::text, 0)), 0)
FROM service_config
WHERE service_name = ANY ($1::text[])
"""
_ENTRIES = """
SELECT service_name, config_key, config_value::text AS value, is_encrypted, version, updated_by
FROM service_config
WHERE service_name = ANY ($1::text[])
"""

log = logging.getLogger("ares_otel.control.config_manager")


class ConfigManager:
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
        """
        if not services:
            raise ValueError("A ConfigManager needs at least one service.")
        self._url = url
        self._services = tuple(services)
        self._keyring = keyring or Keyring()
        self._check = check
        self._listen = listen
        self._poll_seconds = poll_seconds
        self._connect_options = dict(connect_options or {})
        self._clock = clock
        self._entries: dict[str, dict[str, Entry]] = {service: {} for service in self._services}
        self._gone: dict[tuple[str, str], int] = {}  # deleted keys and their last version
        self._told: dict[tuple[str, str, str], int] = {}  # what was said of a setting, and of which version
        self._subscriptions: list[Subscription] = []
        self._fingerprint: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._away = False
        self._last_read: float | None = None
        self.revision = 0
        """Counts up with every change that came into force in this process."""
        self.connected = False
        """Whether the last look at the database succeeded."""

    async def start(self) -> None:
        """Reads the settings and follows them from now on. When the database does not answer, that is said once, the
        getters give defaults, and the settings come into force when it does."""
        if self._task is not None:
            return
        if not self._listen:
            log.info(
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
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for subscription in list(self._subscriptions):
            await subscription.stop()

    def get_string(self, key: str, default: str, *, service: str | None = None) -> str:
        """The setting as text; `default` when there is none."""
        value: str = self._get(key, default, "a string", service)
        return value

    def get_int(self, key: str, default: int, *, service: str | None = None) -> int:
        """The setting as a whole number; 30.0 is one, "30" is not."""
        value: int = self._get(key, default, "a whole number", service)
        return value

    def get_float(self, key: str, default: float, *, service: str | None = None) -> float:
        """The setting as a number."""
        value: float = self._get(key, default, "a number", service)
        return value

    def get_bool(self, key: str, default: bool, *, service: str | None = None) -> bool:
        """The setting as true or false; 1 and "true" are neither."""
        value: bool = self._get(key, default, "true or false", service)
        return value

    def get_json(self, key: str, default: Any = None, *, service: str | None = None) -> Any:
        """The setting as it is: any JSON value, a copy of the caller's own. JSON null is None."""
        entry = self._of(service).get(key)
        if entry is None:
            return default
        return copy.deepcopy(entry.value) if isinstance(entry.value, dict | list) else entry.value

    def version(self, key: str, *, service: str | None = None) -> int:
        """The version of the value in force, 0 when there is none."""
        entry = self._of(service).get(key)
        return 0 if entry is None else entry.version

    def keys(self, *, service: str | None = None) -> list[str]:
        """The keys in force, sorted."""
        return sorted(self._of(service))

    def refresh(self) -> None:
        """Looks at the database now, and at everything: what could not be decrypted may open with a new key."""
        self._fingerprint = None
        self._wake.set()

    @property
    def age_seconds(self) -> float:
        """Seconds since the settings were last seen in the database; infinite before the first time."""
        return float("inf") if self._last_read is None else self._clock.monotonic() - self._last_read

    def on_change(self, pattern: str, callback: Callback, *, service: str | None = None) -> Subscription:
        """Calls `callback(ConfigChange)` after each change of a key that matches.

        Args:
            pattern: a key, or a pattern with `*` (any text) such as `logging.*`.
            callback: sync or async, called on the event loop, for one change after the other. What it raises is
                logged. While it runs, changes of the same key become one, from the first old to the last new value.
        """
        self._of(service)
        subscription = Subscription(service or self._services[0], pattern, callback, self._subscriptions)
        self._subscriptions.append(subscription)
        return subscription

    def _of(self, service: str | None) -> dict[str, Entry]:
        try:
            return self._entries[service or self._services[0]]
        except KeyError:
            raise ValueError(f"This ConfigManager does not follow {service}; name it in `services`.") from None

    def _get(self, key: str, default: Any, kind: str, service: str | None) -> Any:
        entry = self._of(service).get(key)
        if entry is None:
            return default
        value, current = entry.read(kind)
        if not current:
            name = service or self._services[0]
            kept = "the default" if value is None else "the last good value"
            self._tell(name, key, kind, entry.version, f"it is not {kind}; {kept} stays in force")
        return default if value is None else value

    def _tell(self, service: str, key: str, what: str, version: int, sentence: str) -> None:
        """Says what is wrong with a version of a setting, once."""
        if self._told.get((service, key, what)) != version:
            self._told[service, key, what] = version
            log.warning("Version %d of %s/%s is not used: %s.", version, service, key, sentence)

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
                log.error("The configuration could not be taken over: %s", type(error).__name__, exc_info=error)
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
            self._take_over(rows, first=self._last_read is None)
            self._fingerprint = fingerprint
        self._last_read = self._clock.monotonic()
        self.connected = True
        self._tried.set()
        if self._away:
            self._away = False
            log.info("The configuration is read from the database again.")
        await asyncio.sleep(PAUSE)

    def _lost(self, error: BaseException) -> None:
        self.connected = False
        if not self._away and not (isinstance(error, _ENDED) and self._last_read is not None):
            log.warning(
                "The configuration cannot be read (%s); the last known values stay in force.", type(error).__name__
            )
            self._away = True

    def _take_over(self, rows: list[Any], *, first: bool) -> None:
        """One snapshot of the database comes into force, whole, before anybody is told."""
        changes: list[ConfigChange] = []
        present = set()
        for row in rows:
            present.add((row["service_name"], row["config_key"]))
            if (change := self._take_over_one(row)) is not None:
                changes.append(change)
        for service, entries in self._entries.items():
            for key in [key for key in entries if (service, key) not in present]:
                last = entries.pop(key)
                self._gone[service, key] = last.version
                changes.append(ConfigChange(service, key, last.value, None, last.version, deleted=True))
        self.revision += len(changes)
        if not first:
            for change in changes:
                for subscription in list(self._subscriptions):
                    if subscription.wants(change):
                        subscription.tell(change)

    def _take_over_one(self, row: Any) -> ConfigChange | None:
        service, key, version = row["service_name"], row["config_key"], row["version"]
        entries = self._entries[service]
        old = entries.get(key)
        if version < (old.version if old is not None else self._gone.get((service, key), 0) + 1):
            return None  # older than what is in force: a server that lags behind answered
        try:
            value = json.loads(row["value"])
            if row["is_encrypted"]:
                value = self._keyring.decrypt(service, key, value)
        except CryptoError as error:
            self._tell(service, key, "", version, f"{error.message.rstrip('.')}; what was before stays in force")
            return None
        except (ValueError, RecursionError):
            self._tell(service, key, "", version, "its JSON is too deep or holds a number that is too long")
            return None
        if self._check is not None and (reason := self._check(service, key, value)) is not None:
            shown = "it is no value for this key" if row["is_encrypted"] else reason.rstrip(".")
            self._tell(service, key, "", version, f"{shown}; what was before stays in force")
            return None
        same = old is not None and same_json(old.value, value)
        if old is not None and same and old.version == version:
            return None
        entries[key] = Entry(value, version) if old is None else old.followed_by(value, version)
        self._gone.pop((service, key), None)
        if same:
            return None  # encrypted anew, or described anew
        return ConfigChange(
            service,
            key,
            None if old is None else old.value,
            value,
            version,
            by=row["updated_by"],
            created=old is None,
            is_encrypted=row["is_encrypted"],
        )


_ENDED = (asyncpg.ConnectionDoesNotExistError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)
"""An idle connection was closed, as by a restart or a firewall: worth a line only when the next attempt fails."""
