"""Ares obeys its own settings: those of the service `ares-api` in the configuration service, without a restart.

What the configuration file says (`service.telemetry`) is the initial value. A setting in the configuration service wins
as soon as somebody has set it: the installed default (version 1, its value unchanged) says nothing yet.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ares_otel.cli import console
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.config_values import ConfigChange
from ares_otel.pipeline.config import PipelineConfig

LEVEL, SPANS = "logging.level", "logging.trace_enabled"
BUS_TYPE, BUS_URL = "eventbus.type", "eventbus.redis_url"
INSTALLED: dict[str, Any] = {LEVEL: "info", SPANS: True}
"""The defaults that migration 008 installs, of the settings that the configuration file has too."""

log = logging.getLogger("ares_otel.settings")


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What the configuration file says."""

    level: str
    spans: bool

    @classmethod
    def of(cls, config: PipelineConfig) -> FileSettings:
        """The settings of a configuration."""
        return cls(config.telemetry.logs.level, config.telemetry.traces.level != "none")


class OwnSettings:
    """Puts the log level and the recording of own spans into force, at the start and after each change."""

    def __init__(self, manager: ConfigManager, file: FileSettings, *, quiet: bool = False) -> None:
        """`quiet`: another process of this Ares says what has changed."""
        self._manager = manager
        self._quiet = quiet
        self._file = file
        self._record_spans: Callable[[bool], None] | None = None
        manager.on_change(LEVEL, self._changed)
        manager.on_change(SPANS, self._changed)

    @property
    def level(self) -> str:
        """The log level in force: debug, info, warn or error."""
        level = self._manager.get_string(LEVEL, self._file.level) if self._is_set(LEVEL) else self._file.level
        return level if level in console.LEVELS else self._file.level

    @property
    def spans(self) -> bool:
        """Whether Ares records spans of its own."""
        return self._manager.get_bool(SPANS, self._file.spans) if self._is_set(SPANS) else self._file.spans

    def steer(self, record_spans: Callable[[bool], None]) -> None:
        """Names what switches the recording of spans; it is called at once, and after each change."""
        self._record_spans = record_spans
        self.apply()

    async def steer_bus(self, switch: Callable[[str, str], Awaitable[None]]) -> None:
        """Names what moves the event bus to another type and URL; it is called at once, and after each change."""

        async def move(_: ConfigChange | None = None) -> None:
            try:
                await switch(self.bus_type, self.bus_url)
            except ValueError:  # its text may hold the URL, and that a password
                log.warning("%s holds no URL of a Redis server; the event bus stays as it was.", BUS_URL)

        self._manager.on_change(BUS_TYPE, move)
        self._manager.on_change(BUS_URL, move)
        await move()

    @property
    def bus_type(self) -> str:
        """The wanted event bus: memory or redis."""
        return self._manager.get_string(BUS_TYPE, "memory")

    @property
    def bus_url(self) -> str:
        """Redis of the event bus."""
        return self._manager.get_string(BUS_URL, "localhost:6379")

    def read_file(self, file: FileSettings) -> None:
        """The configuration file was read again."""
        self._file = file
        self.apply()

    def apply(self) -> None:
        """Puts the settings into force as they are now."""
        console.set_level(self.level)
        if self._record_spans is not None:
            self._record_spans(self.spans)

    def _is_set(self, key: str) -> bool:
        version = self._manager.version(key)
        return version > 1 or (version == 1 and self._manager.get_json(key) != INSTALLED[key])

    def _changed(self, change: ConfigChange) -> None:
        if self._quiet:
            self.apply()
            return
        said = log.isEnabledFor(logging.INFO)
        if said:
            self._say(change)
        self.apply()
        if not said:  # the change may have made the line worth showing
            self._say(change)

    def _say(self, change: ConfigChange) -> None:
        now = self.level if change.key == LEVEL else self.spans
        log.info("%s is now %s%s.", change.key, str(now).lower(), f", set by {change.by}" if change.by else "")
