"""A database in which nothing can be stored for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def stuck(url: str) -> AsyncIterator[asyncpg.Connection]:
    """While it lasts, nothing can be stored: somebody holds a lock on the table."""
    connection = await asyncpg.connect(url)
    try:
        while not connection.is_in_transaction():
            try:
                await connection.execute("BEGIN; LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE")
            except asyncpg.DeadlockDetectedError:  # with the job that seals partitions
                await connection.execute("ROLLBACK")
        yield connection
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()
