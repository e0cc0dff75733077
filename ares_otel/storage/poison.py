"""Poison: a request with something in it that the database refuses for what it holds.

The request is divided until the refused items stand alone. They are put into `ingest_rejected`, with the reason and as
an OTLP request of their own; everything else of the request is stored. All of it is one transaction, with its receipt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.model.batch import Accepted, Batch
from ares_otel.storage import receipts
from ares_otel.storage.definitions import DefinitionStore
from ares_otel.storage.receipts import Claim, State
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import EncodedBatch, Told
from ares_otel.storage.rows.envelope import UNKNOWN_SERVICE
from ares_otel.storage.rows.pieces import piece
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.sqlstate import is_poison, sqlstate
from ares_otel.storage.transaction import BEGIN, commit, copy_rows

PARTS = 8
"""Into so many parts a refused one is divided. Halves would find a single item with fewer tries, but each level encodes
all of the request again."""
MOST_REFUSED = 1000
"""Items of one request that are looked for one by one. After so many a part that the database refuses is not divided
any more, but refused as a whole."""
SEARCH_SECONDS = 20.0
"""The same after so long: a request is answered in the end, however much poison there is in it."""
REASON = 1000
"""Characters kept of what the database says."""

_INSERT = """
INSERT INTO ingest_rejected (tenant_id, received_at, signal, service_name, items, reason, sqlstate, told, key, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


@dataclass(slots=True)
class Refused:
    """Items that the database does not take."""

    items: int
    reason: str
    sqlstate: str | None
    service_name: str
    payload: bytes


@dataclass(slots=True)
class Outcome:
    """What became of the request."""

    claim: Claim
    answer: Accepted
    rows: dict[str, int] = field(default_factory=dict)
    """Committed rows by table."""
    refused: int = 0
    """Items in `ingest_rejected`."""


async def store_alone(
    connection: asyncpg.Connection, batch: EncodedBatch, process: UUID, *, on_unsure: Callable[[], None]
) -> Outcome:
    """Stores what the database takes of one request.

    Raises what asyncpg raises, except for poison: that is found and set aside. The caller rolls back.
    """
    assert batch.source is not None
    await connection.execute(BEGIN)
    (claim,) = await receipts.claim(connection, [batch], process)
    if claim.state is not State.NEW:
        await commit(connection, on_unsure)
        return Outcome(claim, Accepted())
    search = _Search(connection, batch)
    await search.run()
    refused = sum(part.items for part in search.refused)
    reason = "; ".join(part for part in (batch.reason, _summary(search.refused)) if part)
    answer = Accepted(batch.stored - refused, rejected=batch.rejected + refused, reason=reason[:REASON])
    if batch.told is None:
        await receipts.change(connection, batch, answer, later=0)
    else:
        told = Accepted(answer.stored, rejected=batch.items - answer.stored, reason=batch.told.reason)
        await receipts.change(connection, batch, told, later=batch.promised - answer.stored)
    for part in search.refused:
        await _insert(connection, batch.source, part, told=batch.told is None)
    await commit(connection, on_unsure)
    return Outcome(claim, answer, search.rows, refused)


async def _insert(connection: asyncpg.Connection, source: Batch | SpoolRecord, part: Refused, *, told: bool) -> None:
    """Writes refused items down, inside a transaction.

    Args:
        told: whether the sender is told by partial success; False when it was answered before.
    """
    await connection.execute(
        _INSERT,
        source.tenant_id,
        receipts.received_at(source.received_ns),
        source.signal.name,
        part.service_name,
        part.items,
        part.reason,
        part.sqlstate,
        told,
        source.key,
        part.payload,
    )


async def set_aside(
    connection: asyncpg.Connection, record: SpoolRecord, process: UUID, *, reason: str, state: str | None
) -> None:
    """Puts a whole acknowledged request into `ingest_rejected`, in a transaction with its receipt; nothing happens when
    the request was stored meanwhile. Raises what asyncpg raises."""
    batch = EncodedBatch(
        record.key,
        record.signal,
        record.tenant_id,
        record.received_ns,
        items=record.items,
        rejected=record.items,
        told=Told(record.rejected, record.reason),
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        (claim,) = await receipts.claim(connection, [batch], process)
        if claim.state is State.NEW:
            part = Refused(batch.promised, _clean(reason), state, UNKNOWN_SERVICE, record.payload)
            await _insert(connection, record, part, told=False)
        elif claim.state is State.BUSY:
            raise asyncpg.LockNotAvailableError("The same request is just being stored.")


class _Search:
    """The dividing of one request, inside a transaction."""

    def __init__(self, connection: asyncpg.Connection, batch: EncodedBatch) -> None:
        assert batch.source is not None
        self._connection = connection
        self._batch = batch
        self._source = batch.source
        self._definitions = DefinitionStore()
        self._until = asyncio.get_running_loop().time() + SEARCH_SECONDS
        self.refused: list[Refused] = []
        self.rows: dict[str, int] = {}

    async def run(self) -> None:
        await self._try(self._source.message(), self._source.items, self._batch)

    @property
    def _enough(self) -> bool:
        return len(self.refused) >= MOST_REFUSED or asyncio.get_running_loop().time() >= self._until

    async def _try(self, request: Any, items: int, encoded: EncodedBatch) -> None:
        """Stores a part of the request, or else the parts of it."""
        if not encoded.tables:
            return  # nothing but invalid items, which are counted already
        connection = self._connection
        await connection.execute("SAVEPOINT piece")
        try:
            await self._definitions.store_inside(connection, encoded)
            rows = await copy_rows(connection, [encoded])
        except asyncpg.PostgresError as error:
            if not is_poison(error):
                raise
            await connection.execute("ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece")
            if items == 1 or self._enough:
                self._refuse(encoded, request, error)
                return
        else:
            await connection.execute("RELEASE SAVEPOINT piece")
            for table, count in rows.items():
                self.rows[table] = self.rows.get(table, 0) + count
            return
        parts = min(PARTS, items)
        for start, stop in pairwise(items * number // parts for number in range(parts + 1)):
            part, rows_of_part = await asyncio.to_thread(self._part, request, start, stop)
            await self._try(part, stop - start, rows_of_part)

    def _part(self, request: Any, start: int, stop: int) -> tuple[Any, EncodedBatch]:
        """Some items of a request, as a request and as rows."""
        source = self._source
        part = piece(source.signal, request, start, stop)
        batch = Batch(
            source.signal,
            part.SerializeToString(),
            key=source.key,
            tenant_id=source.tenant_id,
            received_ns=source.received_ns,
            receiver=source.receiver,
            transport=source.transport,
            message=part,
        )
        return part, encode_batch(batch, self._batch.windows)

    def _refuse(self, encoded: EncodedBatch, request: Any, error: asyncpg.PostgresError) -> None:
        services = sorted(seen.name for seen in encoded.services)
        self.refused.append(
            Refused(
                encoded.stored,
                _clean(str(error.args[0])),
                sqlstate(error),
                services[0] if services else UNKNOWN_SERVICE,
                request.SerializeToString(),
            )
        )


def _clean(text: str) -> str:
    """Text that a column can hold: the message of the database may repeat what a sender wrote."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()[:REASON]


def _summary(refused: list[Refused]) -> str:
    """The refusals in one sentence for the sender: by error code, since the database's text may quote other data."""
    counts: dict[tuple[str, str], int] = {}
    for part in refused:
        key = (part.sqlstate or "", part.reason)
        counts[key] = counts.get(key, 0) + part.items
    parts = [
        f"{f'{count} × ' if count > 1 else ''}the database refuses the data: {reason} (SQLSTATE {state})"
        for (state, reason), count in sorted(counts.items(), key=lambda item: -item[1])[:3]
    ]
    return "; ".join(parts)
