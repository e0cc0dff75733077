"""Rows of `ingest_rejected`, as the store leaves them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from google.protobuf.message import Message

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import SIGNALS
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.encode import encode_batch
from tests.support.otlp_samples import logs_request
from tests.support.rows_store import store as store_rows


async def insert_rejected(
    connection: Any,
    request: Message | None = None,
    *,
    signal: str = "logs",
    payload: bytes | None = None,
    service: str = "orders",
    items: int | None = None,
    reason: str = "numeric field overflow",
    sqlstate: str | None = "22003",
    told: bool = True,
    key: bytes | None = None,
    received_at: datetime | None = None,
    rejected_at: datetime | None = None,
) -> int:
    """Adds a row for a request (default: one log record) and returns its id."""
    message: Any = logs_request(records=1) if request is None else request
    count = SIGNALS[signal].count(message) if items is None else items
    now = datetime.now(UTC)
    row: int = await connection.fetchval(
        "INSERT INTO ingest_rejected"
        " (received_at, rejected_at, signal, service_name, items, reason, sqlstate, told, key, payload)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
        received_at or now,
        rejected_at or now,
        signal,
        service,
        count,
        reason,
        sqlstate,
        told,
        key or os.urandom(16),
        message.SerializeToString() if payload is None else payload,
    )
    return row


class ReceiptStore:
    """A store with receipts over one connection: the items in whose place `refuses` says so are refused as the
    database would, and kept as rows of their own; all of a request in one transaction."""

    def __init__(self, connection: asyncpg.Connection, refuses: Callable[[int], bool] = lambda number: False) -> None:
        self._connection = connection
        self.refuses = refuses
        self.record = True
        """Whether refused items are kept; those that the encoder finds invalid are not."""

    async def consume(self, batch: Batch) -> Accepted:
        async with self._connection.transaction():
            known = await self._connection.fetchrow("SELECT * FROM ingest_receipts WHERE key = $1", batch.key)
            if known is not None:
                return Accepted(deduplicated=known["accepted"], rejected=known["rejected"], reason=known["reason"])
            received_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=batch.received_ns // 1000)
            windows = await read_windows(self._connection)
            refused = [number for number in range(batch.items) if self.refuses(number)]
            records = list(batch.message().resource_logs[0].scope_logs[0].log_records)
            for number, record in enumerate(records):
                request: Any = batch.copy_message()
                logs = request.resource_logs[0].scope_logs[0].log_records
                del logs[:]
                logs.append(record)
                if number not in refused:
                    single = Batch(
                        batch.signal,
                        request.SerializeToString(),
                        received_ns=batch.received_ns,
                        receiver="t",
                        transport="t",
                    )
                    await store_rows(self._connection, encode_batch(single, windows))
                elif self.record:
                    await insert_rejected(
                        self._connection, request, key=batch.key, received_at=received_at, reason="again"
                    )
            await self._connection.execute(
                "INSERT INTO ingest_receipts (key, signal, received_at, accepted, rejected, reason)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                batch.key,
                batch.signal.name,
                received_at,
                batch.items - len(refused),
                len(refused),
                "again" if refused else "",
            )
        return Accepted(batch.items - len(refused), rejected=len(refused), reason="again" if refused else "")
