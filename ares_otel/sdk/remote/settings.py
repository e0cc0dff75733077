"""What an application sees of its settings."""

from __future__ import annotations

import logging
import threading
from typing import Any

from ares_otel.control.config_callbacks import Callback, Subscription
from ares_otel.control.config_view import SettingsView


class Settings:
    """The settings of the application's service, always up to date. Getters never wait, and work in every thread; while
    nothing is known they give defaults."""

    def __init__(self, view: SettingsView) -> None:
        self._view = view
        self._known = threading.Event()
        view.on_taken(self._taken)

    def get_string(self, key: str, default: str) -> str:
        """The setting as text; `default` when there is none. A value of another type is said once, and the last good
        one stays."""
        return self._view.get_string(key, default)

    def get_int(self, key: str, default: int) -> int:
        """The setting as a whole number; 30.0 is one, "30" is not."""
        return self._view.get_int(key, default)

    def get_float(self, key: str, default: float) -> float:
        """The setting as a number."""
        return self._view.get_float(key, default)

    def get_bool(self, key: str, default: bool) -> bool:
        """The setting as true or false; 1 and "true" are neither."""
        return self._view.get_bool(key, default)

    def get_json(self, key: str, default: Any = None) -> Any:
        """The setting as it is: any JSON value, a copy of the caller's own. JSON null is None."""
        return self._view.get_json(key, default)

    def on_change(self, pattern: str, callback: Callback) -> Subscription:
        """Calls `callback(ConfigChange)` after each change of a key that matches; also for the values that are there
        when the settings become known.

        Args:
            pattern: a key, or a pattern with `*` (any text) such as `limits.*`.
            callback: sync, called on the thread that follows the settings, which it must not hold up; or async, on that
                thread's event loop. What it raises is logged. While it runs, changes of one key become one.

        Returns:
            Its `cancel()` ends the calls.
        """
        return self._view.on_change(pattern, callback)

    @property
    def revision(self) -> int:
        """Id in `service_config_history` of the newest change that is in force; 0 while none is known."""
        return self._view.newest_change

    def wait(self, timeout_seconds: float) -> bool:
        """Waits until the settings are known, for programs that cannot begin without; False after the time-out."""
        return self._known.wait(timeout_seconds)

    def _follow(self, view: SettingsView) -> None:
        """In the child of a fork: goes on with a view that has inherited from the one before."""
        self._view = view
        known, self._known = self._known.is_set(), threading.Event()
        if known:
            self._known.set()

    def _taken(self) -> None:
        self._known.set()


class NobodysSettings(Settings):
    """Where settings are not followed: getters give defaults, and nothing changes. An application runs with them as it
    does while Ares is away."""

    def __init__(self) -> None:
        super().__init__(SettingsView(["nobody"], check=None, log=logging.getLogger("ares_otel.sdk.remote")))

    def wait(self, timeout_seconds: float) -> bool:
        """False, at once: they never come."""
        return False
