"""One transaction of the writer: receipts first, then the rows of what is new, then COMMIT."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

import asyncpg

from ares_otel.storage import flights, receipts
from ares_otel.storage.receipts import Claim, State
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import COPY_HEADER, COPY_TRAILER
from ares_otel.storage.rows.encoded import INCREMENTS, PARTITIONED, EncodedBatch, TableRows
from ares_otel.storage.wire import can_fly

BEGIN = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '20s'"
"""Bounded waits, whatever locks others hold. One message to the server. SET LOCAL, because settings of a session do not
survive a pooler."""
COPY_BYTES = 512 * 1024
"""Bytes of one COPY message: between two of them others get their turn, and the server's pace is felt."""


async def store_group(
    connection: asyncpg.Connection,
    batches: Sequence[EncodedBatch],
    process: UUID,
    *,
    on_unsure: Callable[[], None],
    with_receipts: bool = True,
    in_flights: bool = False,
) -> tuple[list[Claim], dict[str, int]]:
    """Stores the new ones of the batches, all or none, and says what each one was; the definitions are there already.

    Args:
        on_unsure: called when COMMIT was sent and its answer did not come: the rows may be stored.
        in_flights: over the wire itself, in two flights (`storage/flights.py`), where that is possible.

    Returns the claims in the order of the batches, and the committed rows by table. Raises asyncpg.PostgresError and
    what asyncpg raises for a lost connection; the caller rolls back.
    """
    in_flights = in_flights and can_fly(connection)
    if with_receipts and in_flights:
        claims = await flights.claim(connection, BEGIN, batches, process)
    else:
        await connection.execute(BEGIN)
        claims = [Claim(State.NEW)] * len(batches)
        if with_receipts:
            claims = await receipts.claim(connection, batches, process)
    new = [batch for batch, claim in zip(batches, claims, strict=True) if claim.state is State.NEW]
    if in_flights:
        tables = by_table(new)
        await flights.copy_and_commit(
            connection, [(table, [part.data for part in parts]) for table, parts in tables], on_unsure
        )
        rows = _counts(tables)
    else:
        rows = await copy_rows(connection, new)
        await commit(connection, on_unsure)
    return claims, rows


async def commit(connection: asyncpg.Connection, on_unsure: Callable[[], None]) -> None:
    """COMMIT. Raises what asyncpg raises, after `on_unsure` was called."""
    try:
        await connection.execute("COMMIT")
    except BaseException:
        on_unsure()
        raise


async def copy_rows(connection: asyncpg.Connection, batches: Sequence[EncodedBatch]) -> dict[str, int]:
    """The rows of the batches, inside a transaction; returns how many went into each telemetry table. What they add to
    the roll-ups shares their fate."""
    tables = by_table(batches)
    for table, parts in tables:
        await connection.copy_to_table(
            table,
            source=_stream([part.data for part in parts]),
            columns=COPY_COLUMNS[table],
            format="binary",
        )
    return _counts(tables)


def by_table(batches: Sequence[EncodedBatch]) -> list[tuple[str, list[TableRows]]]:
    """The rows of the batches, table by table, in the order in which everybody writes them."""
    found = ((table, [b.tables[table] for b in batches if table in b.tables]) for table in (*PARTITIONED, *INCREMENTS))
    return [(table, parts) for table, parts in found if parts]


def _counts(tables: Sequence[tuple[str, Sequence[TableRows]]]) -> dict[str, int]:
    return {table: sum(part.count for part in parts) for table, parts in tables if table in PARTITIONED}


async def _stream(parts: Sequence[bytes | bytearray]) -> AsyncIterator[bytes]:
    yield COPY_HEADER
    for part in parts:
        for start in range(0, len(part), COPY_BYTES):
            yield bytes(memoryview(part)[start : start + COPY_BYTES])
    yield COPY_TRAILER
