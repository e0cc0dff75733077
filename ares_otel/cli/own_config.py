"""The settings that a process of Ares obeys: read from the configuration service, and followed."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ares_otel.control.config.schema import problem_of
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.crypto import Keyring
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs


async def follow_settings(
    url: str, facts: ServerFacts, keyring: Keyring, telemetry: Telemetry, stack: AsyncExitStack
) -> ConfigManager:
    """A started manager, whose age is shown. `stack`: stops it."""
    manager = ConfigManager(
        url,
        keyring=keyring,
        check=problem_of,
        listen=not facts.pooled,
        connect_options=asyncpg_kwargs(facts),
    )
    stack.push_async_callback(manager.stop)
    await manager.start()
    telemetry.gauge("ares_otel_config_age_seconds").set_function(lambda: manager.age_seconds)
    return manager
