"""A transaction that changes roll-ups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from ares_otel.storage.sqlstate import DATABASE_ERRORS

MERGE = 0x41726573_4D657267
"""Key of the lock ("AresMerg")."""
_BEGIN = "BEGIN{isolation}; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '{seconds}s'"


@asynccontextmanager
async def transaction(
    connection: asyncpg.Connection, *, seconds: int = 50, one_snapshot: bool = False
) -> AsyncIterator[None]:
    """A transaction with bounded waits that holds the lock for changing roll-ups: one process does it at a time, and
    should the lock of the job fail (`partitions/lock.py`), a second one does no harm.

    Args:
        seconds: how long one statement may take.
        one_snapshot: whether all its statements see the same moment.

    Raises asyncpg.LockNotAvailableError when another process is at it.
    """
    await connection.execute(
        _BEGIN.format(isolation=" ISOLATION LEVEL REPEATABLE READ" if one_snapshot else "", seconds=seconds)
    )
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", MERGE):
            raise asyncpg.LockNotAvailableError("Another process is merging roll-ups.")
        yield
    except BaseException:
        await _roll_back(connection)
        raise
    await connection.execute("COMMIT")


async def _roll_back(connection: asyncpg.Connection) -> None:
    """Also where the server says nothing any more: somebody waits for the end."""
    if not connection.is_closed():
        try:
            await connection.execute("ROLLBACK", timeout=5)
        except DATABASE_ERRORS:
            connection.terminate()
