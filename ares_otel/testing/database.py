"""Questions to the database of a test, from code with an event loop and from code without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg

from ares_otel.sdk.background import Background

T = TypeVar("T")
Row = dict[str, Any]
_POLL = 0.02
_LONGEST_POLL = 0.2
_CONNECT = 30.0


class DatabaseThread:
    """One connection at a time, made with the first question, on a thread of its own."""

    def __init__(self) -> None:
        self._background = Background("ares-testing")
        self._connection: asyncpg.Connection | None = None
        self._turn: asyncio.Lock | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Does the work on the thread, and waits for it."""
        return self._background.submit(work).result()

    async def run_async(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As `run`, while the caller's event loop goes on."""
        return await asyncio.wrap_future(self._background.submit(work))

    async def fetch(self, url: str, sql: str, *arguments: object) -> list[Row]:
        """On the thread: the rows of a statement."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await _connect(url)
            return [dict(row) for row in await self._connection.fetch(sql, *arguments)]

    async def until(self, count: int, timeout: float, url: str, sql: str, *arguments: object) -> list[Row]:
        """On the thread: asks again until there are `count` rows, or `timeout` seconds have passed; the last rows."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = _POLL
        while True:
            rows = await self.fetch(url, sql, *arguments)
            if len(rows) >= count or loop.time() >= deadline:
                return rows
            await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
            pause = min(pause * 1.5, _LONGEST_POLL)

    def forget(self) -> None:
        """Ends the connection; the next question makes another one. Nothing happens where none was asked."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.run(lambda: _close(connection))

    def stop(self) -> None:
        """Ends the thread. Safe twice."""
        self._background.stop(_CONNECT)
        self._turn = None


async def _connect(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url, timeout=_CONNECT)
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return connection


async def _close(connection: asyncpg.Connection) -> None:
    connection.terminate()
