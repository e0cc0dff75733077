"""The writer's transaction in two flights: BEGIN with the claim of the receipts, then rows with COMMIT.

COMMIT follows the rows without waiting for what the server says of them: when it refuses some, it has ended the
transaction, drops what is left of the rows, and COMMIT rolls back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID
from weakref import WeakSet

import asyncpg

from ares_otel.storage import messages, receipts
from ares_otel.storage.receipts import Claim
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encoded import EncodedBatch
from ares_otel.storage.wire import Flight, Piece

_STATEMENT = "ares_claim"
_PREPARE = messages.parse(_STATEMENT, receipts.CLAIM)
_COMMIT = messages.query("COMMIT")
_COPY = {
    table: messages.query(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)")
    for table, columns in COPY_COLUMNS.items()
}
COPY_BYTES = 128 * 1024
"""Bytes of one COPY message: the server reads it whole, and a socket takes it, or the rest would be copied."""
_TO_2000_US = 946_684_800_000_000
"""From 1970 to 2000, from where PostgreSQL counts; microseconds."""

_prepared: WeakSet[asyncpg.Connection] = WeakSet()
"""Connections to a server process that knows the statement `_STATEMENT`."""


async def claim(
    connection: asyncpg.Connection, begin: str, batches: Sequence[EncodedBatch], process: UUID
) -> list[Claim]:
    """Begins a transaction with the statements `begin`, and does what `receipts.claim` does. Raises
    asyncpg.PostgresError."""
    try:
        rows = await _claim(connection, begin, batches, process)
    except asyncpg.InvalidSQLStatementNameError:  # somebody took it away: DISCARD ALL, DEALLOCATE
        _prepared.discard(connection)
        await connection.execute("ROLLBACK")
        rows = await _claim(connection, begin, batches, process)
    others = {}
    for row in rows:
        key, mine = messages.fields(row)
        others[key or b""] = mine == b"\x01"
    return await receipts.settle(connection, batches, others)


async def _claim(
    connection: asyncpg.Connection, begin: str, batches: Sequence[EncodedBatch], process: UUID
) -> list[bytes]:
    """The rows of `receipts.CLAIM`."""
    prepare = () if connection in _prepared else (_PREPARE,)
    flight = Flight(connection, answers=2)
    try:
        await flight.run([messages.query(begin), *prepare, messages.execute(_STATEMENT, _parameters(batches, process))])
    finally:
        if flight.parsed:
            _prepared.add(connection)
    return flight.rows


async def copy_and_commit(
    connection: asyncpg.Connection,
    tables: Sequence[tuple[str, Sequence[bytes | bytearray]]],
    on_unsure: Callable[[], None],
) -> None:
    """Copies rows, in parts of binary COPY tuples for each table, and commits.

    Args:
        on_unsure: called when COMMIT was sent and its answer did not come: the rows may be stored.

    Raises asyncpg.PostgresError.
    """
    pieces: list[Piece] = []
    for table, parts in tables:
        pieces += (_COPY[table], *_copy_data([COPY_HEADER, *parts, COPY_TRAILER]), messages.COPY_DONE)
    pieces.append(_COMMIT)
    flight = Flight(connection, answers=len(tables) + 1)
    try:
        await flight.run(pieces)
    except BaseException:
        if not flight.refused:
            on_unsure()
        raise


def _copy_data(parts: Sequence[bytes | bytearray]) -> Iterator[Piece]:
    """A COPY stream in messages of bounded size."""
    together: list[Piece] = []
    size = 0
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(part), COPY_BYTES):
            piece = view[start : start + COPY_BYTES]
            if size + len(piece) > COPY_BYTES:
                yield messages.copy_data(size)
                yield from together
                together, size = [], 0
            together.append(piece)
            size += len(piece)
    yield messages.copy_data(size)
    yield from together


def _parameters(batches: Sequence[EncodedBatch], process: UUID) -> list[bytes]:
    """Those of `receipts.CLAIM`, in binary form."""
    keys = [batch.key for batch in batches]
    return [
        messages.array(messages.BYTEA, keys),
        messages.int8s([receipts.lock_of(key) for key in keys]),
        messages.int4s([batch.tenant_id for batch in batches]),
        messages.texts([batch.signal.name for batch in batches]),
        messages.int8s([batch.received_ns // 1000 - _TO_2000_US for batch in batches], messages.TIMESTAMPTZ),
        messages.int8s([batch.promised for batch in batches]),
        messages.int8s([batch.told_rejected for batch in batches]),
        messages.texts([batch.told_reason for batch in batches]),
        messages.int8s([batch.promised - batch.stored for batch in batches]),
        process.bytes,
    ]
