"""What Ares must know of a PostgreSQL server before it relies on it: version, rights, durability, a pooler."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from ares_otel.model.errors import StartError
from ares_otel.storage.embedded_settings import CLUSTER_NAME

OLDEST_VERSION = 150_000
"""Oldest server that Ares runs on, as `server_version_num`: PostgreSQL 15."""
OPTION = "--database-url (ARES_OTEL_DATABASE_URL)"
_FILES = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL"}
"""Parameters of a URL that name files, and the variables that stand in for them."""
_MAX_PORT = 65_535
_CONNECT = 10.0
_COMMAND = 30.0

_VERSION = """
SELECT current_setting('server_version_num')::int AS version_num,
       current_setting('server_version')          AS version
"""
_FACTS = """
SELECT current_setting('server_encoding')         AS encoding,
       current_setting('cluster_name')            AS cluster_name,
       current_setting('fsync')                   AS fsync,
       current_setting('full_page_writes')        AS full_page_writes,
       current_setting('synchronous_commit')      AS synchronous_commit,
       current_setting('synchronous_standby_names') AS standby_names,
       current_setting('default_transaction_read_only') AS read_only,
       current_setting('search_path')             AS search_path,
       pg_is_in_recovery()                        AS standby,
       pg_backend_pid()                           AS backend_pid,
       current_user::text                         AS role,
       current_database()::text                   AS database,
       current_schema()::text                     AS schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create
"""

_BEHIND_A_POOLER = (
    "The database is reached through a connection pooler such as PgBouncer. What does not work where it pools "
    "transactions: session-level advisory locks, so run `ares-otel migrate` over a direct connection or one that pools "
    "sessions; LISTEN/NOTIFY; and prepared statements, which are switched off."
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was found out about a server."""

    version_num: int
    """`server_version_num`, for example 180006."""
    version: str
    """`server_version`, for example `18.6`."""
    is_embedded: bool
    """Whether it is an embedded server of Ares."""
    pooled: bool
    """Whether a pooler such as PgBouncer stands between."""
    warnings: tuple[str, ...]
    """One sentence each: what does not hold with this server. For the log, loudly."""


def asyncpg_kwargs(facts: ServerFacts) -> dict[str, Any]:
    """Options for every `asyncpg.connect` and `asyncpg.create_pool` to this server.

    Behind a pooler a named prepared statement may live on another server connection than the next command, so asyncpg
    keeps none (its documentation, FAQ "Why am I getting prepared statement errors?").
    """
    return {"statement_cache_size": 0} if facts.pooled else {}


async def check_database(url: str, *, need_create: bool = True) -> ServerFacts:
    """Connects once and finds out whether Ares can rely on the server.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…`, as libpq and asyncpg take it.
        need_create: whether the role must be able to create tables (to migrate and to make partitions).

    Raises:
        StartError: one clear line, never with the password in it: the URL is wrong, nobody answers, the server refuses,
            is older than PostgreSQL 15, stores no UTF-8, only reads, or does not give the rights that are needed.
    """
    where = describe(url)
    async with _connected(url, where) as connection:
        # One transaction: a pooler that pools transactions then stays with one server connection.
        async with connection.transaction():
            row = dict(await connection.fetchrow(_VERSION))
            if row["version_num"] < OLDEST_VERSION:  # the next query may already be too new for it
                raise StartError(
                    f"The database at {where} is PostgreSQL {row['version']}; Ares needs 15 or newer: "
                    f"upgrade it or point {OPTION} at another server."
                )
            row |= await connection.fetchrow(_FACTS)
        pooled = connection.get_server_pid() != row["backend_pid"]
    _refuse(row, where, need_create)
    return ServerFacts(
        version_num=row["version_num"],
        version=row["version"],
        is_embedded=row["cluster_name"] == CLUSTER_NAME,
        pooled=pooled,
        warnings=(*_durability_warnings(row), *((_BEHIND_A_POOLER,) if pooled else ())),
    )


def _refuse(row: dict[str, Any], where: str, need_create: bool) -> None:
    """Raises StartError when Ares cannot work with a server that answers so."""
    if row["encoding"] != "UTF8":
        raise StartError(
            f"The database at {where} stores text as {row['encoding']}; Ares needs UTF8: make one with "
            f"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 and name it in {OPTION}."
        )
    if row["standby"] or row["read_only"] == "on":
        kind = "a standby" if row["standby"] else "read-only (default_transaction_read_only)"
        raise StartError(f"The database at {where} is {kind}; point {OPTION} at the primary server.")
    if need_create and row["schema"] is None:
        raise StartError(
            f"The database at {where} has no schema of the search_path {row['search_path']} that the role "
            f"{row['role']} may use; grant USAGE and CREATE on one, or give another role in {OPTION}."
        )
    if need_create and not row["may_create"]:
        raise StartError(
            f"The role {row['role']} may not create tables in the schema {row['schema']} of the database at {where}; "
            f"run `GRANT CREATE ON SCHEMA {row['schema']} TO {row['role']}` there, or give another role in {OPTION}."
        )


def _durability_warnings(row: dict[str, Any]) -> list[str]:
    """The settings that break the promise that an answer means stored."""
    warnings = []
    if row["fsync"] == "off":
        warnings.append(
            "The database runs with fsync=off: data that was answered with success can be lost, and the whole database "
            "damaged, when the machine crashes. Set fsync=on."
        )
    if row["full_page_writes"] == "off":
        warnings.append(
            "The database runs with full_page_writes=off: a crash in the middle of a write can damage pages beyond "
            "repair. Set full_page_writes=on unless the file system writes pages whole."
        )
    if row["synchronous_commit"] == "off":
        warnings.append(
            "The database runs with synchronous_commit=off: the last moments of data that was answered with success "
            "can be lost when the server crashes. Set synchronous_commit=on for the role of Ares."
        )
    if row["synchronous_commit"] == "local" and row["standby_names"]:
        warnings.append(
            "The database runs with synchronous_commit=local: data that was answered with success may be missing on "
            "the standby after a failover. Set synchronous_commit=on for the role of Ares."
        )
    return warnings


@asynccontextmanager
async def _connected(url: str, where: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for the check; everything that goes wrong becomes a StartError. Closed without waiting for long."""
    connection: asyncpg.Connection | None = None
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT, command_timeout=_COMMAND, statement_cache_size=0)
        yield connection
    except StartError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise StartError(_explain_file(error, url, where)) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise StartError(_explain(error, where)) from None
    except OverflowError:  # from a port of the query or of PGPORT
        raise StartError(_bad_port()) from None
    finally:
        if connection is not None:
            connection.terminate()


def _explain(error: Exception, where: str) -> str:
    """One line for a connection that failed. Texts of a plain ValueError may quote the URL: they are not repeated."""
    said = str(error).partition("\n")[0].rstrip(".")  # without DETAIL and HINT
    match error:
        case asyncpg.PostgresError() if "statement pooling" in said:
            return f"The pooler at {where} pools statements, and Ares needs transactions; set pool_mode to transaction."
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"The database at {where} refuses the user: {said}; check user and password in {OPTION}."
        case asyncpg.InvalidCatalogNameError():
            return f"The server at {where} has no such database; create it or change the database in {OPTION}."
        case asyncpg.InsufficientPrivilegeError():
            return f"The role may not use the database at {where}: {said}; grant CONNECT or change {OPTION}."
        case asyncpg.TooManyConnectionsError():
            return f"The server at {where} has no connection free: {said}; raise its max_connections or try again."
        case asyncpg.CannotConnectNowError():
            return f"The server at {where} takes no connections now: {said}; try again when it is up."
        case asyncpg.ProtocolViolationError():
            return f"The pooler or server at {where} does not serve this: {said}; check {OPTION}."
        case asyncpg.ClientConfigurationError():
            return f"{OPTION} names something that cannot be used: {said}."
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            return f"The server at {where} answers: {said}; check {OPTION}."
        case ssl.SSLError():
            return f"TLS to {where} fails: {error.reason or error}; check sslmode and certificates in {OPTION}."
        case socket.gaierror():
            return f"The host of {where} is not known ({error.strerror}); check the host in {OPTION}."
        case TimeoutError():
            return f"Nobody answers at {where} within {_CONNECT:g} s; check host, port and firewall in {OPTION}."
        case ConnectionRefusedError():
            return f"Nothing listens at {where}; start the server or check host and port in {OPTION}."
        case ConnectionError():
            return f"What listens at {where} is no PostgreSQL server or ends the connection; check {OPTION}."
        case OSError():
            # asyncpg joins the errors of several addresses (localhost has two) into one of no kind.
            if "Connect call failed" in str(error) and "Errno 111" in str(error):
                return _explain(ConnectionRefusedError(), where)
            return f"No connection to {where}: {error.strerror or error}; check {OPTION}."
        case _:
            return _bad_url()


def _explain_file(error: OSError, url: str, where: str) -> str:
    """One line for a file that cannot be opened: one with certificates, or the socket. The error itself names none."""
    query = parse_qs(urlsplit(url).query)
    for parameter, variable in _FILES.items():
        name = query.get(parameter, [os.environ.get(variable, "")])[-1]
        if name and not os.access(name, os.R_OK):
            reason = "cannot be read" if os.path.exists(name) else "does not exist"
            origin = OPTION if parameter in query else f"the variable {variable}"
            return f"The file {name} ({parameter}) {reason}; check {parameter} in {origin}."
    if isinstance(error, FileNotFoundError):
        if where.startswith(("/", "the default host")):
            return f"There is no socket at {where}; start the server or check the host in {OPTION}."
        return f"No connection to {where}: a file that the connection needs does not exist; check {OPTION}."
    return _explain(error, where)


def _bad_port() -> str:
    return f"The port in {OPTION} is not one of 1 to {_MAX_PORT}; the usual one is 5432."


def _bad_url() -> str:
    return (
        f"{OPTION} is not a PostgreSQL URL: it has the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in user "
        "and password characters such as @ : / ? # % are written percent-encoded (@ is %40)."
    )


def describe(url: str) -> str:
    """`HOST:PORT/DATABASE` of a URL, for messages. Raises StartError for what is not a PostgreSQL URL.

    A raw @ behind the host, or two before it, means a password with characters that are not encoded: then every other
    part is suspect of holding a piece of it, and nothing is shown.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        hosts = unquote(parts.netloc.rpartition("@")[2])
        known = parts.scheme in {"postgresql", "postgres"} and parts.netloc.count("@") <= 1
        stray = parts.path + parts.fragment + ("" if "@" in parts.netloc or not parts.netloc else parts.query)
        if not known or "@" in stray or parts.fragment or not _ports_are_numbers(hosts):
            raise ValueError
    except ValueError:
        raise StartError(_bad_url()) from None
    if any(int(port) > _MAX_PORT for port in re.findall(r"(?m):(\d+)$", hosts.replace(",", "\n"))):
        raise StartError(_bad_port())
    hosts = hosts or query.get("host", [""])[-1]
    database = unquote(parts.path.lstrip("/")) or query.get("dbname", query.get("database", [""]))[-1]
    return f"{hosts or 'the default host'}/{database}" if database else hosts or "the default host"


def _ports_are_numbers(hosts: str) -> bool:
    """Whether `HOST[:PORT],…` is well formed; a socket directory (percent-encoded, it starts with /) is."""
    return all(
        host.startswith("/") or re.fullmatch(r"(\[[^\]]*\]|[^:@\[\]]*)(:\d{1,5})?", host) for host in hosts.split(",")
    )
