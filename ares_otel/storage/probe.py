"""A look whether the database takes data of a signal, without giving it any."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows import encoded
from ares_otel.storage.sqlstate import DATABASE_ERRORS

_TABLES: dict[Signal, tuple[str, ...]] = {
    TRACES: (encoded.SPANS,),
    LOGS: (encoded.LOGS,),
    METRICS: (encoded.SAMPLES, encoded.DISTRIBUTIONS),
}
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '2s'"
_PATIENCE = 5.0


async def takes_data(connect: Callable[[], Awaitable[asyncpg.Connection]], signal: Signal) -> bool:
    """Whether an insert could begin now: the server is there, may be written to, and nobody holds the tables. What an
    insert itself can fail from, a full disk for instance, does not show."""
    connection: asyncpg.Connection | None = None
    try:
        async with asyncio.timeout(_PATIENCE):
            connection = await connect()
            await connection.execute(_BEGIN)
            tables = ", ".join(("ingest_receipts", *_TABLES[signal]))
            await connection.execute(f"LOCK TABLE {tables} IN ROW EXCLUSIVE MODE")
            await connection.execute("ROLLBACK")
    except DATABASE_ERRORS:
        return False
    finally:
        if connection is not None:
            connection.terminate()
    return True
