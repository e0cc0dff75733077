"""Encoding a request in a unit test: a window around now, no database."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf.message import Message

from ares_otel.storage.rows.encoded import PARTITIONED, EncodedBatch, Window
from tests.support.copy_rows import rows_of
from tests.support.encoders import encode_batch
from tests.support.otlp_samples import batch_of

NOW = time.time_ns()
HOUR = 3_600_000_000_000
WINDOWS = {table: Window(NOW - 24 * HOUR, NOW + 24 * HOUR) for table in PARTITIONED}


def encoded(request: Message, *, tenant_id: int = 0, received_ns: int = NOW) -> EncodedBatch:
    """The request as rows; the window of every table is a day before and after `NOW`."""
    return encode_batch(batch_of(request, tenant_id=tenant_id, received_ns=received_ns), WINDOWS)


def only_row(request: Message, table: str) -> dict[str, Any]:
    """The one row that the request becomes."""
    result = encoded(request)
    assert not result.reasons
    (row,) = rows_of(result, table)
    return row
