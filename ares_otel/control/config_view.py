"""The settings of a service as a process sees them: typed getters, callbacks, one consistent state after the other.

Where the settings come from is not known here: `ConfigManager` reads them from the database, the SDK's
`WatchedSettings` from Ares's API.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ares_otel.control.config_callbacks import Callback, Subscription
from ares_otel.control.config_values import Check, ConfigChange, Entry, same_json


@dataclass(frozen=True, slots=True)
class Found:
    """A setting as its source has it."""

    service: str
    key: str
    version: int
    value: Any = None
    problem: str = ""
    """Why the value cannot be had, as the beginning of a sentence; empty when it can."""
    by: str = ""
    is_encrypted: bool = False


class SettingsView:
    """Settings of one or more services, in memory. Getters never wait, and work in every thread; settings are taken
    over on one event loop."""

    def __init__(self, services: Collection[str], *, check: Check | None, log: logging.Logger) -> None:
        """
        Args:
            services: whose settings; the first one is what the getters mean unless they name another.
            check: what a known key may hold; what it refuses does not come into force.
            log: where it is said what is wrong with a setting.
        """
        self._services = tuple(services)
        self._check = check
        self._log = log
        self._entries: dict[str, dict[str, Entry]] = {service: {} for service in self._services}
        self._gone: dict[tuple[str, str], int] = {}  # deleted keys and their last version
        self._told: dict[tuple[str, str, str], int] = {}  # what was said of a setting, and of which version
        self._subscriptions: list[Subscription] = []
        self._on_taken: list[Callable[[], None]] = []
        self.revision = 0
        """Counts up with every change that came into force in this process."""
        self.newest_change = 0
        """`service_config_history.id` of the newest change of these services that was taken over; 0 before that."""

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
        return sorted(self._of(service).copy())

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

    def on_taken(self, call: Callable[[], None]) -> None:
        """Calls when settings were taken over, before `newest_change` tells of them and before callbacks do: what must
        be in force by then. What it raises is logged."""
        self._on_taken.append(call)

    def inherit(self, before: SettingsView) -> None:
        """Goes on where another view of the same services was, with its values and its callbacks: in the child of a
        fork, where the other one's event loop is gone."""
        self._entries, self._gone, self._told = before._entries, before._gone, before._told
        self._subscriptions, self._on_taken = before._subscriptions, before._on_taken
        self.revision, self.newest_change = before.revision, before.newest_change
        for subscription in self._subscriptions:
            subscription.forget_loop()

    def _of(self, service: str | None) -> dict[str, Entry]:
        try:
            return self._entries[service or self._services[0]]
        except KeyError:
            raise ValueError(f"This process does not follow {service}; name it in `services`.") from None

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
            self._log.warning("Version %d of %s/%s is not used: %s.", version, service, key, sentence)

    def _take_over(
        self, found: Iterable[Found], newest: int, *, silently: bool = False, backwards: bool = False
    ) -> None:
        """All settings that there are now come into force, whole, before anybody is told.

        Args:
            newest: `newest_change` from now on.
            silently: does not call the callbacks.
            backwards: takes versions over that are older than those in force. Else they are left out, for a server that
                lags behind has answered.
        """
        changes: list[ConfigChange] = []
        present = set()
        for setting in found:
            present.add((setting.service, setting.key))
            if (change := self._take_over_one(setting, backwards)) is not None:
                changes.append(change)
        for service, entries in self._entries.items():
            for key in [key for key in entries if (service, key) not in present]:
                changes.append(self._remove(service, key, entries[key].version))
        self._announce(changes, newest, silently=silently)

    def _remove(self, service: str, key: str, version: int) -> ConfigChange:
        last = self._entries[service].pop(key)
        self._gone[service, key] = version
        return ConfigChange(service, key, last.value, None, version, deleted=True)

    def _announce(self, changes: list[ConfigChange], newest: int, *, silently: bool = False) -> None:
        self.revision += len(changes)
        for call in self._on_taken:
            try:
                call()
            except Exception as error:
                self._log.error("Settings could not be put into force: %s", type(error).__name__, exc_info=error)
        self.newest_change = newest
        if silently:
            return
        for change in changes:
            for subscription in list(self._subscriptions):
                if subscription.wants(change):
                    subscription.tell(change)

    def _take_over_one(self, found: Found, backwards: bool = False) -> ConfigChange | None:
        service, key, version, value = found.service, found.key, found.version, found.value
        entries = self._entries[service]
        old = entries.get(key)
        if not backwards and version < (old.version if old is not None else self._gone.get((service, key), 0) + 1):
            return None
        if found.problem:
            self._tell(service, key, "", version, f"{found.problem}; what was before stays in force")
            return None
        if self._check is not None and (reason := self._check(service, key, value)) is not None:
            shown = "it is no value for this key" if found.is_encrypted else reason.rstrip(".")
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
            by=found.by,
            created=old is None,
            is_encrypted=found.is_encrypted,
        )
