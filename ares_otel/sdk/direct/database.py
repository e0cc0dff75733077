"""The way from an application into the database: what is looked at before it is used, and the store behind it."""

from __future__ import annotations

import weakref
from typing import Any

import asyncpg

from ares_otel.model.errors import StartError
from ares_otel.storage.database import OPTION, asyncpg_kwargs, check_database, describe
from ares_otel.storage.migrate import migration_states
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.encoded import DEFINITIONS, INCREMENTS, PARTITIONED
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

SETTING = "database_url (ARES_OTEL_DATABASE_URL)"
PAGE = "docs/direct-exporters.md"

PRIVILEGES: dict[str, tuple[str, ...]] = {
    "schema_migrations": ("SELECT",),
    "partition_floors": ("SELECT",),
    **dict.fromkeys(DEFINITIONS, ("SELECT", "INSERT", "UPDATE")),
    **dict.fromkeys(PARTITIONED, ("INSERT",)),
    **dict.fromkeys(INCREMENTS, ("INSERT",)),
    "ingest_receipts": ("SELECT", "INSERT", "UPDATE"),
    "ingest_rejected": ("INSERT",),
}
"""What a role needs to store telemetry into partitions that somebody else makes."""

SEQUENCES = ("service_logs_id_seq", "metric_samples_id_seq", "ingest_rejected_id_seq")
"""USAGE on these, too."""

_MISSING = """
SELECT string_agg(privilege || ' ON ' || name, ', ' ORDER BY name, privilege)
FROM (
    SELECT name, privilege, has_table_privilege(to_regclass(name)::oid, privilege) AS held
    FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)
    UNION ALL
    SELECT name, 'USAGE', has_sequence_privilege(to_regclass(name)::oid, 'USAGE') FROM unnest($3::text[]) AS name
) AS found
WHERE NOT coalesce(held, false)
"""

_OWNER = """
SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), false)
       AND coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
FROM pg_class WHERE oid = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
"""


class DirectStore(Store):
    """A store for one event loop that serves nobody else, with one connection for each signal, and that can be cut off
    from its database."""

    def __init__(self, url: str, connect_options: dict[str, Any], *, makes_partitions: bool) -> None:
        super().__init__(
            url,
            connect_options=connect_options,
            connections=1,
            encoding_threads=0,
            makes_partitions=makes_partitions,
        )
        self._cut_off = False
        self._open: weakref.WeakSet[asyncpg.Connection] = weakref.WeakSet()

    async def connect(self) -> asyncpg.Connection:
        if self._cut_off:
            raise OSError("The process ends.")
        connection = await super().connect()
        if self._cut_off:  # meanwhile
            connection.terminate()
            raise OSError("The process ends.")
        self._open.add(connection)
        return connection

    def cut_off(self) -> None:
        """Ends all connections without a goodbye, and opens none any more: whoever waits for an answer hears that there
        is none."""
        self._cut_off = True
        for connection in list(self._open):
            connection.terminate()


async def open_store(url: str) -> DirectStore:
    """A store that has started.

    Raises:
        StartError: one sentence for people: why the database cannot be used, and what to do.
        OSError, asyncpg.PostgresError and others of `DATABASE_ERRORS`: it went away meanwhile.
    """
    options, owner = await _look(url)
    store = DirectStore(url, options, makes_partitions=owner)
    try:
        await store.start(replaying=False)
    except BaseException:
        store.cut_off()
        await store.stop()
        raise
    return store


async def explain(url: str) -> str:
    """Why nothing can be stored, as a sentence; empty when no reason is found."""
    try:
        await _look(url)
    except StartError as error:
        return error.message
    except DATABASE_ERRORS:
        pass
    return ""


async def _look(url: str) -> tuple[dict[str, Any], bool]:
    """Options for connections to it, and whether the role may make partitions. Raises as `open_store`."""
    try:
        facts = await check_database(url, need_create=False)
    except StartError as error:
        raise StartError(error.message.replace(OPTION, SETTING)) from None
    options = asyncpg_kwargs(facts)
    connection = await asyncpg.connect(url, timeout=10, command_timeout=30, **options)
    try:
        where = describe(url)
        await _check_schema(connection, where)
        owner = await connection.fetchval(_OWNER, list(PARTITIONED))
        if not owner and any(window.start_ns == window.end_ns for window in (await read_windows(connection)).values()):
            raise StartError(
                f"The database at {where} has no partition for now, and the role of {SETTING} may not make one: let an "
                f"Ares server run on that database, or make the role a member of the one that owns the tables ({PAGE})."
            )
    finally:
        connection.terminate()
    return options, owner


async def _check_schema(connection: asyncpg.Connection, where: str) -> None:
    """Raises StartError when the tables are not those that this version writes into, or not for this role."""
    rights = f"grant it what {PAGE} lists"
    try:
        pending = [state.migration for state in await migration_states(connection) if state.applied_at is None]
    except asyncpg.InsufficientPrivilegeError:
        raise StartError(f"The role of {SETTING} may not read the tables at {where}: {rights}.") from None
    if pending:
        state = "has no tables of Ares" if pending[0].version == 1 else f"lacks the migration {pending[0].name}"
        raise StartError(
            f"The database at {where} {state}: run `ares-otel migrate --database-url URL` with a role that may create "
            "tables."
        )
    pairs = [(table, privilege) for table, privileges in PRIVILEGES.items() for privilege in privileges]
    tables, names = zip(*pairs, strict=True)
    missing = await connection.fetchval(_MISSING, tables, names, SEQUENCES)
    if missing:
        raise StartError(f"The role of {SETTING} lacks rights at {where}, {missing}: {rights}.")
