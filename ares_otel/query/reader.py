"""The one door to the database for reads: what the driver raises leaves it as one of two errors made for people."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ares_otel.model.errors import AresError
from ares_otel.query.row_cursor import RowCursor
from ares_otel.query.statements import Statement
from ares_otel.storage.sqlstate import CONNECTION_ERRORS

ACQUIRE_SECONDS = 5.0
"""How long a read waits for a free connection of the pool: a busy Ares says so instead of piling up requests."""

TURN_SECONDS = 15.0
"""How long a search waits for its turn: it holds nothing meanwhile."""
HEAVY_SHARE = 0.5
"""Part of the pool's connections that searches which may take long can have: cheap reads keep the others."""

STREAM_SHARE = 0.25
"""The same for what is read as slowly as somebody takes it."""

IDLE_SECONDS = 60.0
"""The server ends a transaction of a cursor that was not used for so long."""
_IDLE = "idle_in_transaction_session_timeout"

WORN_STATEMENTS = 64
"""A connection that ran so many statements for one read is closed: the server's process behind it keeps in memory what
it learned of every partition that it met."""

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
        self._statements = 0
        self._in_snapshot = False

    @property
    def worn(self) -> bool:
        """Whether the connection had better be closed than used again."""
        return self._statements >= WORN_STATEMENTS

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """The rows of a statement, as asyncpg records.

        Raises:
            TypeError: the values are not the statement's parameters.
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        return await self._fetch(None, statement, values)

    async def fetch_within(self, seconds: float, statement: Statement, **values: object) -> list[Any]:
        """The same, for a statement that is ended after so many seconds. Raises as `fetch` does."""
        return await self._fetch(seconds, statement, values)

    async def _fetch(self, seconds: float | None, statement: Statement, values: Mapping[str, object]) -> list[Any]:
        text, arguments = statement.bind(values)
        self._statements += 1
        try:
            rows: list[Any] = await self._connection.fetch(text, *arguments, timeout=seconds)
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
        async with self._within(self._connection.transaction()):
            try:
                await self._connection.execute(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}")
            except CONNECTION_ERRORS as error:
                raise DatabaseUnavailable from error
            except asyncpg.PostgresError as error:
                raise _translated(error) from error
            yield

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """What is fetched inside is of one moment, whatever is stored meanwhile. Nothing can be changed in it.

        Inside of a `cursor` that has one, it is that.

        Raises DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        if self._in_snapshot:
            yield
            return
        async with self._within(self._connection.transaction(isolation="repeatable_read", readonly=True)):
            yield

    @asynccontextmanager
    async def _within(self, transaction: Any) -> AsyncIterator[None]:
        try:
            await transaction.start()
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
    async def cursor(
        self, statement: Statement, wide: Sequence[str], one_snapshot: bool = False, /, **values: object
    ) -> AsyncIterator[RowCursor]:
        """The rows of a statement some at a time, in a read-only transaction that ends with the block.

        Other statements may be fetched meanwhile; they see what was committed by then.

        Args:
            wide: the columns whose texts may be large: fewer such rows are fetched at once.
            one_snapshot: whether the other statements see the same moment as this one.

        Raises:
            TypeError: the values are not the statement's parameters.
            DatabaseUnavailable, QueryTooSlow: as their texts say, also what is raised by the cursor inside the block.
        """
        text, arguments = statement.bind(values)
        self._statements += 1
        try:
            # The server's own bound, should this process stand still: a snapshot that stays holds up others.
            isolation = "ISOLATION LEVEL REPEATABLE READ " if one_snapshot else ""
            begin = f"BEGIN {isolation}READ ONLY; SET LOCAL {_IDLE} = {round(IDLE_SECONDS * 1000)}"
            await self._connection.execute(begin)
            self._in_snapshot = one_snapshot
            try:
                yield RowCursor(await self._connection.cursor(text, *arguments), wide)
            finally:
                self._in_snapshot = False
                with contextlib.suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
                    await self._connection.execute("ROLLBACK")
        except TimeoutError as error:
            raise QueryTooSlow from error
        except asyncpg.DataError:
            raise
        except CONNECTION_ERRORS as error:
            raise DatabaseUnavailable from error
        except asyncpg.PostgresError as error:
            raise _translated(error) from error


@asynccontextmanager
async def reading(pool: asyncpg.Pool, *, heavy: bool = False) -> AsyncIterator[Reader]:
    """A reader over a connection of the pool, given back at the end.

    Args:
        heavy: whether the reads may take long; of these only `HEAVY_SHARE` of the pool's connections run at once.

    Raises:
        DatabaseUnavailable: no connection within `ACQUIRE_SECONDS` (no turn within `TURN_SECONDS`), or the server does
            not take one.
    """
    if not heavy:
        async with _acquired(pool) as reader:
            yield reader
        return
    async with _turn_of(_searches.of(pool), "searches run"), _acquired(pool) as reader:
        yield reader


def may_stream_at_once(pool: asyncpg.Pool) -> bool:
    """Whether `streaming` would not wait."""
    return not _streams.of(pool).locked()


@asynccontextmanager
async def streaming(pool: asyncpg.Pool) -> AsyncIterator[None]:
    """A turn to keep a connection of the pool for as long as somebody takes what is read from it. Only `STREAM_SHARE`
    of the connections are kept so at once: cheap reads and searches keep theirs.

    Raises DatabaseUnavailable: no turn within `TURN_SECONDS`.
    """
    async with _turn_of(_streams.of(pool), "large traces are read"):
        yield


@asynccontextmanager
async def _turn_of(turn: asyncio.Semaphore, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turn.acquire()
    except TimeoutError as error:
        raise DatabaseUnavailable(f"Too many {what} already; try again when one of them has ended.") from error
    try:
        yield
    finally:
        turn.release()


class _Turns:
    """For each pool whose turn it is. A pool cannot be referred to weakly, so the few latest are kept."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._turns: OrderedDict[int, tuple[asyncpg.Pool, asyncio.Semaphore]] = OrderedDict()

    def of(self, pool: asyncpg.Pool) -> asyncio.Semaphore:
        entry = self._turns.get(id(pool))
        if entry is None or entry[0] is not pool:
            entry = (pool, asyncio.Semaphore(max(1, int(pool.get_max_size() * self._share))))
            self._turns[id(pool)] = entry
        self._turns.move_to_end(id(pool))
        while len(self._turns) > 4:
            self._turns.popitem(last=False)
        return entry[1]


_searches = _Turns(HEAVY_SHARE)
_streams = _Turns(STREAM_SHARE)


@asynccontextmanager
async def _acquired(pool: asyncpg.Pool) -> AsyncIterator[Reader]:
    try:
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable from error
    except asyncpg.PostgresError as error:
        raise _translated(error) from error
    reader = Reader(connection)
    try:
        yield reader
    finally:
        if reader.worn:
            connection.terminate()
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
