"""Arrivals that cannot be added up: each is found and set aside, so that the others go on.

A batch that fails is tried again with half as many, until the one is alone that it is about. It is kept, with the
reason, in metric_delta_refused.
"""

from __future__ import annotations

import asyncpg

from ares_otel.storage.sqlstate import CONNECTION_ERRORS, is_poison, is_suspicious, sqlstate
from ares_otel.storage.totals.adding import TAKE, add_taken

MOST = 1000
"""Arrivals that one round sets aside: what comes after it in a round has its turn. The next round goes on."""
_REASON = 1000
"""Characters."""
_SET_ASIDE = """
INSERT INTO metric_delta_refused (tenant_id, series_id, "timestamp", timestamp_ns, value, sqlstate, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


def is_about_arrivals(error: Exception) -> bool:
    """Whether what was added may be the reason: other arrivals can do without it. Everything that is neither the
    server's nor the connection's error is."""
    if isinstance(error, asyncpg.PostgresError):
        return is_poison(error) or is_suspicious(error)
    return not isinstance(error, (*CONNECTION_ERRORS, MemoryError))


async def add_one(connection: asyncpg.Connection) -> Exception | None:
    """Adds one arrival, or sets it aside, inside a transaction with one snapshot; returns why it was set aside.

    Raises asyncpg.PostgresError, or what the driver raises, when the reason is not the arrival.
    """
    taken = await connection.fetch(TAKE, 1)
    if not taken:
        return None
    await connection.execute("SAVEPOINT taken")
    try:
        await add_taken(connection, taken)
    except Exception as error:
        if not is_about_arrivals(error):
            raise
        await connection.execute("ROLLBACK TO SAVEPOINT taken")
        state = sqlstate(error) if isinstance(error, asyncpg.PostgresError) else None
        [row] = taken
        await connection.execute(_SET_ASIDE, *row.values(), state, _told(error))
        return error
    return None


def _told(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".replace("\0", "�")
    return text.encode("utf-8", "replace").decode()[:_REASON]
