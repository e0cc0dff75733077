"""A process's view of its settings for a test, and edits of them with plain SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ares_otel.control.config_manager import ConfigManager
from tests.support.eventually import eventually


@asynccontextmanager
async def managed(url: str, **options: Any) -> AsyncIterator[ConfigManager]:
    """A manager that polls so rarely that only a notification can be fast, unless the test says otherwise."""
    manager = ConfigManager(url, **{"services": ["shop"], "poll_seconds": 3600, **options})
    await manager.start()
    try:
        yield manager
    finally:
        await manager.stop()


async def put(sql: asyncpg.Connection, key: str, value: Any, *, service: str = "shop", encrypted: bool = False) -> None:
    await sql.execute(
        """INSERT INTO service_config (service_name, config_key, config_value, is_encrypted, updated_by)
        VALUES ($1, $2, $3, $4, 'alice')
        ON CONFLICT (service_name, config_key) DO UPDATE
        SET config_value = excluded.config_value, is_encrypted = excluded.is_encrypted, updated_by = 'alice'""",
        service,
        key,
        json.dumps(value),
        encrypted,
    )


async def arrives(manager: ConfigManager, key: str, value: Any) -> None:
    await eventually(lambda: asyncio.sleep(0, manager.get_json(key) == value), every=0.01)
