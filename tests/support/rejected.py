"""Rows of `ingest_rejected`, as the store leaves them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from ares_otel.model.signal import SIGNALS
from tests.support.otlp_samples import logs_request


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
