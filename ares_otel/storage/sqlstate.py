"""What a failure of the database means for the data that was being stored: decided here and nowhere else.

The classes are those of PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

import asyncpg

COPY_FORMAT = "22P04"
"""Of class 22 the one that is not the data's fault: it is our own COPY format."""
RECEIPTS = "ingest_receipts"
"""The table whose violations are not the data's fault either."""

ABOUT_THE_SERVER = ("08", "23", "25", "26", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "XX")
"""Classes of errors that say nothing about the data: connection, a violation among receipts (others are poison), state
of transactions, names, rights, what does not exist, collisions, resources, operators, the system itself."""

CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises, besides PostgresError, when the server or the way to it is gone."""

DATABASE_ERRORS = (asyncpg.PostgresError, *CONNECTION_ERRORS)


def sqlstate(error: BaseException) -> str:
    """The five characters of a server error, `08006` (connection failure) for anything else."""
    return str(error.sqlstate) if isinstance(error, asyncpg.PostgresError) and error.sqlstate else "08006"


def is_poison(error: BaseException) -> bool:
    """Whether the database refused a row for what it holds, so that sending it again cannot help."""
    state = sqlstate(error)
    if state == "54000":
        return True
    if state[:2] not in ("22", "23") or state == COPY_FORMAT or is_missing_partition(error):
        return False
    return getattr(error, "table_name", None) != RECEIPTS


def is_suspicious(error: BaseException) -> bool:
    """Whether the request itself may be the reason although that is not sure: a limit of the server, an error of a
    trigger (it may have any code), our own COPY format, an internal error. Its neighbours deserve to be tried without
    it."""
    state = sqlstate(error)
    return state == "XX000" or not (state.startswith(ABOUT_THE_SERVER) or is_missing_partition(error))


def is_timeout(error: BaseException) -> bool:
    """Whether the server (statement_timeout) or the client gave up waiting."""
    return isinstance(error, TimeoutError) or sqlstate(error) == "57014"


def is_missing_partition(error: BaseException) -> bool:
    """Whether a row found no partition for its time: a check violation without a named constraint. The server names
    the table then; a trigger that raises this code names nothing, and means the row."""
    named = getattr(error, "constraint_name", None), getattr(error, "table_name", None)
    return sqlstate(error) == "23514" and not named[0] and bool(named[1])


def is_contention(error: BaseException) -> bool:
    """Whether the same transaction may simply be tried again: serialization failure or deadlock."""
    return sqlstate(error)[:2] == "40"


def is_connection_loss(error: BaseException) -> bool:
    """Whether the connection broke or its server went away: another connection may work at once. A time-out is none: it
    would only be waited for once more."""
    if isinstance(error, TimeoutError):
        return False
    return sqlstate(error)[:2] == "08" or sqlstate(error) in ("57P01", "57P02")


def is_about_the_statement(error: BaseException) -> bool:
    """Whether the connection is as good as before: the error came from what was asked (its data, a lock, a time-out),
    not from the server's state. A connection to a server that is read-only (25006), shuts down (57P01 to 57P03) or is
    full (53) is given up: after a failover the next one leads elsewhere."""
    state = sqlstate(error)
    return state[:2] in ("22", "23", "40", "42", "54", "55") or state == "57014"
