"""The configuration service's door to the database: transactions that take turns, errors made for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from ares_otel.control.config.errors import ConfigBusy, InvalidSetting
from ares_otel.query.reader import ACQUIRE_SECONDS, DatabaseUnavailable, QueryTooSlow, Reader
from ares_otel.query.statements import parse_statements
from ares_otel.storage.sqlstate import CONNECTION_ERRORS

LOCK_SECONDS = 10
"""How long an edit waits for an unfinished edit of somebody else."""
MAX_WAITING = 20_000
"""Edits of this process that may stand in line."""

SQL = parse_statements((Path(__file__).parent / "config.sql").read_text(encoding="utf-8"))
"""The statements of `config.sql`, by name."""

_AWAY_CLASSES = ("08", "53", "57", "25", "40")
"""SQLSTATE classes of a server that cannot do it now: connection, resources, operator, read-only, deadlock."""


class Transaction(Reader):
    """One transaction over one connection."""

    async def first(self, name: str, **values: object) -> Any | None:
        """The first row of a statement, or None."""
        rows = await self.fetch(SQL[name], **values)
        return rows[0] if rows else None

    async def all(self, name: str, **values: object) -> list[Any]:
        """The rows of a statement."""
        return await self.fetch(SQL[name], **values)


class ConfigDatabase:
    """Transactions over a pool. Edits of one process stand in line here and not at the database, where each of them
    would hold a connection while it waits."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A read-only transaction that sees one state of the database.

        Raises:
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        async with self._transaction(isolation="repeatable_read", readonly=True) as transaction:
            yield transaction

    @asynccontextmanager
    async def editing(
        self, who: str, why: str | None, *, rekey: bool = False, dry_run: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction that no other edit runs beside. It commits at the end of the block.

        Args:
            who, why: for the history.
            rekey: lets values change their encrypted form without a new version.
            dry_run: rolls everything back at the end.

        Raises:
            ConfigBusy: somebody else's edit does not end.
            DatabaseUnavailable, QueryTooSlow: as their texts say.
        """
        if self._waiting >= MAX_WAITING:
            raise ConfigBusy("Too many edits wait for their turn; try again in a moment.")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            async with self._transaction(undo=dry_run) as transaction:
                await transaction.first(
                    "begin_edit",
                    lock_timeout=f"{LOCK_SECONDS}s",
                    who=who,
                    why=why or "",
                    rekey="on" if rekey else "off",
                )
                await transaction.first("take_turn")
                yield transaction
        finally:
            self._turn.release()

    @asynccontextmanager
    async def revealing(self) -> AsyncIterator[Transaction]:
        """A transaction that reads one state of the database and may record who read it."""
        async with self._transaction(isolation="repeatable_read") as transaction:
            yield transaction

    @asynccontextmanager
    async def _transaction(
        self, *, isolation: str | None = None, readonly: bool = False, undo: bool = False
    ) -> AsyncIterator[Transaction]:
        with _Translated():
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        try:
            with _Translated():
                transaction = connection.transaction(isolation=isolation, readonly=readonly)
                await transaction.start()
                try:
                    yield Transaction(connection)
                except BaseException:
                    if not connection.is_closed():
                        await transaction.rollback()
                    raise
                await (transaction.rollback() if undo else transaction.commit())
        finally:
            try:
                await self._pool.release(connection)
            except (*CONNECTION_ERRORS, asyncpg.PostgresError):
                connection.terminate()  # it died with the server


class _Translated:
    """Turns what the driver raises into errors made for people."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case asyncpg.LockNotAvailableError():
                raise ConfigBusy from error
            case DatabaseUnavailable(__cause__=asyncpg.LockNotAvailableError()):
                raise ConfigBusy from error.__cause__
            case asyncpg.QueryCanceledError():
                raise QueryTooSlow from error
            case asyncpg.NumericValueOutOfRangeError() | asyncpg.ProgramLimitExceededError():
                raise InvalidSetting(
                    "value", "The value is more than PostgreSQL can hold in a jsonb: a number or a text is too long."
                ) from None
            case asyncpg.PostgresError() if str(error.sqlstate or "")[:2] in _AWAY_CLASSES:
                raise DatabaseUnavailable from error
            case asyncpg.DataError():
                return  # an argument of the wrong type is a mistake of ours
            case OSError() | TimeoutError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
                raise DatabaseUnavailable from error
