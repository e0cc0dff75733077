"""Receipts: what each request was answered, written in the transaction that stores its rows.

A request is known by its key. Whoever claims the keys of a group first finds out, in one statement, which requests are
new, which were stored before (their answer is given again and nothing is stored), and which another process is storing
at this moment (only those have to be sent again).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

import asyncpg

from ares_otel.model.batch import Accepted
from ares_otel.storage.rows.encoded import EncodedBatch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The lock is taken before the insert looks for the key; a twin that committed in between is seen by ON CONFLICT,
# whatever the statement's snapshot says. Keys are sorted, so that two groups with the same keys never wait for each
# other in a circle.
CLAIM = """
WITH asked AS MATERIALIZED (
    SELECT a.*, pg_try_advisory_xact_lock(a.lock) AS mine
    FROM (
        SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::integer[], $4::text[], $5::timestamptz[],
                             $6::bigint[], $7::bigint[], $8::text[], $9::bigint[])
            AS given (key, lock, tenant_id, signal, received_at, accepted, rejected, reason, rejected_later)
        ORDER BY key
    ) a
), made AS (
    INSERT INTO ingest_receipts
        (key, tenant_id, signal, received_at, accepted, rejected, reason, rejected_later, stored_by)
    SELECT key, tenant_id, signal, received_at, accepted, rejected, nullif(reason, ''), rejected_later, $10::uuid
    FROM asked WHERE mine ORDER BY key
    ON CONFLICT (key) DO NOTHING
    RETURNING key
)
SELECT asked.key, asked.mine FROM asked LEFT JOIN made USING (key) WHERE made.key IS NULL
"""
"""Gives the keys that are not new."""
_ANSWERS = """
SELECT key, accepted, rejected, reason, stored_by, rejected_later FROM ingest_receipts WHERE key = ANY ($1::bytea[])
"""
_CHANGE = """
UPDATE ingest_receipts SET accepted = $2, rejected = $3, reason = nullif($4, ''), rejected_later = $5 WHERE key = $1
"""


# A request that was stored with a refused item, whose sender heard a plain OK from the spool because nobody could learn
# that: what the sender heard stands.
_HEARD = """
WITH told AS (
    UPDATE ingest_receipts
    SET accepted = accepted + rejected - $2, rejected_later = rejected_later + rejected - $2, rejected = $2,
        reason = nullif($3, '')
    WHERE key = $1
)
UPDATE ingest_rejected SET told = false WHERE key = $1
"""


class State(Enum):
    """What a claim found out about a request."""

    NEW = "new"
    """Nobody stored it; its receipt is written, the rows have to follow in the same transaction."""
    KNOWN = "known"
    """It was stored before."""
    BUSY = "busy"
    """Somebody else is storing it now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome for one request."""

    state: State
    accepted: int = 0
    rejected: int = 0
    reason: str = ""
    stored_by: UUID | None = None
    """The process that stored a known request."""
    rejected_later: int = 0
    """Of the accepted items, those that the database refused after the answer."""

    def answer(self, items: int, *, own_work: bool) -> Accepted:
        """What the sender of a known request is told: the same as the first time.

        Args:
            items: in the request as it is now.
            own_work: this very call stored it, and only lost the answer of the database.
        """
        if own_work:
            later = self.rejected_later
            return Accepted(self.accepted - later, rejected=self.rejected + later, reason=self.reason)
        return known_answer(items, self.rejected, self.reason)


def known_answer(items: int, rejected: int, reason: str) -> Accepted:
    """The answer to a request that was answered before. A processor whose settings changed meanwhile may make more or
    less of it than the first time: each of the items that it has now is counted once."""
    rejected = min(rejected, items)
    return Accepted(deduplicated=items - rejected, rejected=rejected, reason=reason if rejected else "")


_NEW, _BUSY = Claim(State.NEW), Claim(State.BUSY)


def received_at(received_ns: int) -> datetime:
    """The receive time as the database holds it, to the microsecond."""
    return _EPOCH + timedelta(microseconds=received_ns // 1000)


def lock_of(key: bytes) -> int:
    """The advisory lock of a request: 64 bits of its key. Two keys that share them only make one of them wait."""
    return int.from_bytes(key[:8], "big", signed=True)


async def claim(connection: asyncpg.Connection, batches: Sequence[EncodedBatch], process: UUID) -> list[Claim]:
    """Claims the keys of the batches, inside the transaction that is to store them; a claim for each batch, in order.

    The keys must differ. Raises asyncpg.PostgresError.
    """
    keys = [batch.key for batch in batches]
    found = await connection.fetch(
        CLAIM,
        keys,
        [lock_of(key) for key in keys],
        [batch.tenant_id for batch in batches],
        [batch.signal.name for batch in batches],
        [received_at(batch.received_ns) for batch in batches],
        [batch.promised for batch in batches],
        [batch.told_rejected for batch in batches],
        [batch.told_reason for batch in batches],
        [batch.promised - batch.stored for batch in batches],
        process,
    )
    return await settle(connection, batches, {row["key"]: row["mine"] for row in found})


async def settle(
    connection: asyncpg.Connection, batches: Sequence[EncodedBatch], others: Mapping[bytes, bool]
) -> list[Claim]:
    """What each batch is, in order, after `CLAIM`.

    Args:
        others: the keys that are not new, and whether nobody else is storing them now.
    """
    if not others:
        return [_NEW] * len(batches)
    states = dict.fromkeys(others, _BUSY)
    known = [key for key, mine in others.items() if mine]
    if known:
        # So that this transaction writes something: its COMMIT then waits until all before it is confirmed.
        await connection.execute("SELECT pg_logical_emit_message(true, 'ares-otel', '')")
        for row in await connection.fetch(_ANSWERS, known):
            states[row["key"]] = Claim(
                State.KNOWN,
                row["accepted"],
                row["rejected"],
                row["reason"] or "",
                row["stored_by"],
                row["rejected_later"],
            )
        for batch in batches:
            if batch.told is not None and states.get(batch.key, _NEW).rejected > batch.told.rejected:
                await connection.execute(_HEARD, batch.key, batch.told.rejected, batch.told.reason)
    return [states.get(batch.key, _NEW) for batch in batches]


async def change(connection: asyncpg.Connection, batch: EncodedBatch, answer: Accepted, *, later: int) -> None:
    """Corrects a receipt of the same transaction, once it is known what the database refuses.

    Args:
        later: accepted items that the database refuses although their sender was told that they are safe.
    """
    await connection.execute(
        _CHANGE, batch.key, answer.stored + later, answer.rejected - later, answer.reason[:1000], later
    )
