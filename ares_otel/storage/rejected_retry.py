"""What the database refused once, sent again: a row of `ingest_rejected` ends as rows of its table, or stays one row.

The payload goes through the store like any request, under a key that follows from the row. Its receipt makes the two
steps, storing and removing the row, safe against an end between them: the next try finds the receipt and only removes
the row. What is refused again is a new row of the store's; it takes the place and the id of the old one.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import asyncpg

from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.errors import Rejected
from ares_otel.model.signal import SIGNALS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RETRY_KEY = "substring(sha256('rejected'::bytea || key || int8send(id)) FOR 16)"
"""`retry_key` in SQL, over a row of `ingest_rejected`. Receipts with these keys must not be pruned: they are as old as
the request was, and while its row is there somebody may try again."""

_TAKE = """
SELECT id, tenant_id, received_at, rejected_at, signal, items, told, key, payload
FROM ingest_rejected WHERE id = $1 FOR UPDATE SKIP LOCKED
"""
_AGAIN = "SELECT id, items, reason FROM ingest_rejected WHERE key = $1 AND id <> $2 ORDER BY id"
_REPLACE = "UPDATE ingest_rejected SET id = $2, told = $3, rejected_at = $4 WHERE id = $1"
_INHERIT = "UPDATE ingest_rejected SET told = $2, rejected_at = $3 WHERE id = ANY ($1::bigint[])"
_REMOVE = "DELETE FROM ingest_rejected WHERE id = ANY ($1::bigint[])"
_INTERRUPTED = f"""
SELECT DISTINCT r.id FROM (SELECT id, {RETRY_KEY} AS retry FROM ingest_rejected) r
JOIN ingest_rejected again ON again.key = r.retry ORDER BY r.id
"""  # noqa: S608 - nothing in it comes from outside


class Outcome(Enum):
    """What became of a row."""

    STORED = "stored"
    """Nothing of it is left to try."""
    REFUSED = "refused"
    """The row is still there, with what was refused."""
    GONE = "gone"
    """There is no such row, or somebody else is trying it."""


@dataclass(frozen=True, slots=True)
class Retried:
    """The outcome for one row."""

    outcome: Outcome
    stored: int = 0
    """Items that are in their table now."""
    refused: int = 0
    """Items that are not."""
    reason: str = ""
    """Why they were refused."""


def retry_key(key: bytes, id: int) -> bytes:
    """The key under which a row is stored: equal for the same row, different for any other and for a row that was
    refused again. `key`: the row's own, 16 bytes."""
    return hashlib.sha256(b"rejected" + key + struct.pack(">q", id)).digest()[:16]


async def interrupted_rows(connection: asyncpg.Connection) -> list[int]:
    """Ids of rows whose last try ended between its two steps: what was refused again is there as rows of its own. They
    have to be tried first, which only puts that in order; their other rows could else be stored before."""
    return [row["id"] for row in await connection.fetch(_INTERRUPTED)]


async def retry_row(connection: asyncpg.Connection, store: Consumer, id: int) -> Retried:
    """Tries to store one row of `ingest_rejected`. Two processes never try the same row at once.

    Args:
        connection: holds the row while the store works over connections of its own.

    Raises:
        Retryable: the store cannot store now; the row is as it was.
        asyncpg.PostgresError, OSError: the database is away. The row is as it was, or its items are stored and the
            next try removes it.
    """
    async with connection.transaction():
        row = await connection.fetchrow(_TAKE, id)
        if row is None:
            return Retried(Outcome.GONE)
        key = retry_key(row["key"], id)
        batch = Batch(
            SIGNALS[row["signal"]],
            bytes(row["payload"]),
            key=key,
            tenant_id=row["tenant_id"],
            received_ns=(row["received_at"] - _EPOCH) // timedelta(microseconds=1) * 1000,
            receiver="rejected",
            transport="internal",
        )
        stored, reason, whole = 0, "", False
        try:
            answer = await store.consume(batch)
        except Rejected as error:
            reason = error.message
        else:
            stored, reason, whole = answer.stored + answer.deduplicated, answer.reason, True
        again = await connection.fetch(_AGAIN, key, id)
        refused = sum(new["items"] for new in again)
        if not whole or stored + refused < row["items"]:
            # Some item was refused without being kept in a row of its own: this row keeps it.
            await connection.execute(_REMOVE, [new["id"] for new in again])
            return Retried(Outcome.REFUSED, stored, row["items"] - stored, reason)
        await connection.execute(_REMOVE, [id])
        if again:
            await connection.execute(_INHERIT, [new["id"] for new in again], row["told"], row["rejected_at"])
            await connection.execute(_REPLACE, again[0]["id"], id, row["told"], row["rejected_at"])
            return Retried(Outcome.REFUSED, stored, refused, again[0]["reason"])
        return Retried(Outcome.STORED, stored)
