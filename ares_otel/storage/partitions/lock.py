"""One process does a job at a time, over all processes on a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from ares_otel.storage.sqlstate import DATABASE_ERRORS

Connect = Callable[[], Awaitable[asyncpg.Connection]]

RETENTION = 0x41726573_52657465  # "AresRete"
SEAL = 0x41726573_5365616C  # "AresSeal"


@asynccontextmanager
async def exclusive(connect: Connect, key: int, *, pooled: bool) -> AsyncIterator[asyncpg.Connection | None]:
    """A connection that works while it, or one beside it, holds the lock; None when another process does.

    The lock is the session's, so that a killed process keeps it for as long as the server still works for it. Behind a
    pooler a session is not ours: there a transaction on a second connection holds the lock, without a snapshot, so that
    nothing waits for it.

    Raises asyncpg.PostgresError or OSError.
    """
    if pooled:
        async with _transaction_lock(connect, key) as held:
            if not held:
                yield None
                return
            connection = await connect()
            try:
                yield connection
            finally:
                connection.terminate()
        return
    connection = await connect()
    try:
        # The server notices within seconds that the process is gone, instead of when its statement ends.
        with suppress(asyncpg.PostgresError):  # not on every system
            await connection.execute("SET client_connection_check_interval = '2s'")
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
            yield connection
        else:
            yield None
    finally:
        await _end(connection, "SELECT pg_advisory_unlock_all()")


@asynccontextmanager
async def _transaction_lock(connect: Connect, key: int) -> AsyncIterator[bool]:
    keeper = await connect()
    try:
        await keeper.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
        held: bool = await keeper.fetchval("SELECT pg_try_advisory_xact_lock($1)", key)
        # The driver leaves the portal of a query open until the next one, and with it a snapshot. Whoever builds an
        # index would wait for that, for ever.
        await keeper.execute("SELECT 1")
        yield held
    finally:
        await _end(keeper, "ROLLBACK")


async def _end(connection: asyncpg.Connection, last: str) -> None:
    """Lets go of the lock now, not when the server finds the connection closed."""
    with suppress(*DATABASE_ERRORS):
        await connection.execute(last, timeout=5)
    connection.terminate()
