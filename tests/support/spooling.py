"""A store with a spool, on a database that can be made to refuse writing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.storage.spool.spool import Spool
from ares_otel.storage.store import Store
from tests.support.eventually import eventually

STORED = {
    TRACES: "SELECT count(*) FROM service_spans",
    LOGS: "SELECT count(*) FROM service_logs",
    METRICS: "SELECT (SELECT count(*) FROM metric_samples) + (SELECT count(*) FROM metric_distributions)",
}
"""SQL that counts what is stored of a signal."""


def batch(signal: Signal, request: Any) -> Batch:
    return Batch(signal, request.SerializeToString(), received_ns=time.time_ns(), receiver="t", transport="t")


class Place:
    """A database that can be made to refuse writing, a spool directory, and stores on both."""

    def __init__(self, url: str, sql: asyncpg.Connection, directory: Path) -> None:
        self.url = url
        self.sql = sql
        self.directory = directory
        self.replayed: list[Accepted] = []

    @asynccontextmanager
    async def store(self, limit_bytes: int = 64 * 1024 * 1024) -> AsyncIterator[Store]:
        spool = Spool(self.directory, limit_bytes=limit_bytes)
        await asyncio.to_thread(spool.open)
        store = Store(self.url, spool=spool, on_replayed=lambda record, answer: self.replayed.append(answer))
        try:
            await store.start()
            yield store
        finally:
            await store.stop()
            await asyncio.to_thread(spool.close)

    async def refuse(self, table: str = "service_spans") -> None:
        """From now on an insert fails as on a server that has no room left."""
        await self.sql.execute(
            f"""
            CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER no_room BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION no_room();
            """
        )

    async def take(self, table: str = "service_spans") -> None:
        await self.sql.execute(f"DROP TRIGGER no_room ON {table}")

    async def count(self, signal: Signal = TRACES) -> int:
        return int(await self.sql.fetchval(STORED[signal]))

    async def empty(self, store: Store) -> None:
        """Waits until everything is replayed."""
        spool = store.spool
        assert spool is not None

        async def nothing_waits() -> bool:
            return not any(spool.has(signal) for signal in SIGNALS.values())

        await eventually(nothing_waits, every=0.02)
