"""Samples of a day that is over, for tests that pack them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ares_otel.storage.partitions import Partition
from tests.support.partitions import day

YESTERDAY = day(1) + timedelta(hours=12)
YESTERDAY_MS = int(YESTERDAY.timestamp() * 1000)
_HALF = timedelta(hours=12)
PARTITION = f"metric_samples_{YESTERDAY:%Y%m%d}"
ITS_PARTITION = Partition("metric_samples", YESTERDAY - _HALF, YESTERDAY + _HALF, PARTITION)


async def put(sql: asyncpg.Connection, series: UUID, at: datetime, value: float | None, **more: Any) -> None:
    """One sample."""
    row = {"series_id": series, "timestamp": at, "value": value, "received_at": at + timedelta(seconds=1), **more}
    places = ", ".join(f"${n + 1}" for n in range(len(row)))
    await sql.execute(f"INSERT INTO metric_samples ({', '.join(row)}) VALUES ({places})", *row.values())
