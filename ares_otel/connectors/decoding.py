"""Requests for connectors, decoded."""

from __future__ import annotations

import asyncio
from typing import Any

from ares_otel.model.batch import Batch

OFF_LOOP_BYTES = 256 * 1024
"""Larger requests are decoded in a thread."""


async def decoded(batch: Batch) -> Any:
    """The request of a batch.

    Raises:
        Rejected: it cannot be decoded.
    """
    if len(batch.payload) > OFF_LOOP_BYTES:
        return await asyncio.to_thread(batch.message)
    return batch.message()
