"""The one door to the database for reads: what the driver raises leaves it as one of two errors made for people."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.query.statements import Statement
from ares_otel.storage.sqlstate import CONNECTION_ERRORS

ACQUIRE_SECONDS = 5.0
"""How long a read waits for a free connection of the pool: a busy Ares says so instead of piling up requests."""

MAX_BYTES = 32 * 1024 * 1024
"""Text of rows that one answer may hold (the row that crosses the line is still in it): rows can be megabytes each,
so a number of rows alone does not bound memory."""

_AWAY_CLASSES = ("08", "53", "57")
"""SQLSTATE classes of a server that cannot serve now: connection, resources, operator intervention."""

_AWAY_STATES = ("25006", "40001", "40P01", "55P03")
"""SQLSTATEs of a server that is read-only, as a standby is until it takes over, and of a statement that met others:
serialization failure, deadlock, a lock that was not free in time."""


class DatabaseUnavailable(AresError):
    """The database cannot be reached just now, or is too busy to answer; try again in a moment."""


class QueryTooSlow(AresError):
    """The database stopped the query because it took too long; narrow the time range, or name a service."""


class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """The rows of a statement, as asyncpg records.

        Raises:
            TypeError: the values are not the statement's parameters.
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        text, arguments = statement.bind(values)
        try:
            rows: list[Any] = await self._connection.fetch(text, *arguments)
        except TimeoutError as error:  # command_timeout of the pool
            raise QueryTooSlow from error
        except asyncpg.DataError:
            raise  # an argument of the wrong type is a mistake of ours, not an absent database
        except CONNECTION_ERRORS as error:
            raise DatabaseUnavailable from error
        except asyncpg.PostgresError as error:
            raise _translated(error) from error
        return rows

    @asynccontextmanager
    async def transaction(self, *, lock_timeout: float) -> AsyncIterator[None]:
        """What is fetched inside is one transaction that waits at most `lock_timeout` seconds for a lock.

        Raises:
            DatabaseUnavailable, QueryTooSlow: as their texts say; nothing was changed, unless the connection was lost
                in the very moment of the commit.
        """
        transaction = self._connection.transaction()
        try:
            await transaction.start()
            await self._connection.execute(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}")
        except CONNECTION_ERRORS as error:
            raise DatabaseUnavailable from error
        except asyncpg.PostgresError as error:
            raise _translated(error) from error
        try:
            yield
        except BaseException:
            # Where the connection is gone, so is the transaction; what happened first is what is told.
            with contextlib.suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
                await transaction.rollback()
            raise
        try:
            await transaction.commit()
        except CONNECTION_ERRORS as error:
            raise DatabaseUnavailable from error
        except asyncpg.PostgresError as error:
            raise _translated(error) from error


@asynccontextmanager
async def reading(pool: asyncpg.Pool) -> AsyncIterator[Reader]:
    """A reader over a connection of the pool, given back at the end.

    Raises:
        DatabaseUnavailable: no connection within `ACQUIRE_SECONDS`, or the server does not take one.
    """
    try:
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable from error
    except asyncpg.PostgresError as error:
        raise _translated(error) from error
    try:
        yield Reader(connection)
    finally:
        # In a task of its own: what the release ends with is seen also when nobody waits for it any more.
        await asyncio.shield(asyncio.create_task(_release(pool, connection), name="release"))


async def _release(pool: asyncpg.Pool, connection: asyncpg.pool.PoolConnectionProxy) -> None:
    """Resetting a connection that died with the server fails. The pool has closed it by then, and the answer (or the
    error that says so already) stands."""
    with contextlib.suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
        await pool.release(connection)


def _translated(error: asyncpg.PostgresError) -> Exception:
    if isinstance(error, asyncpg.QueryCanceledError):
        return QueryTooSlow()
    state = str(error.sqlstate or "")
    return DatabaseUnavailable() if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES else error
