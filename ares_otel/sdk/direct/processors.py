"""The SDK's batch processors, with a `force_flush` that waits for the database.

The SDK's own hands its batch to the exporter's `export`, which does not wait here, and says True.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

FLUSH_MILLIS = 30_000.0


class StoringSpanProcessor(BatchSpanProcessor):
    """For a `PostgresSpanExporter`."""

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Waits at most so long, 30 seconds if it is not said; True when every span that has ended is stored."""
        return _flush(super().force_flush, self._batch_processor._exporter, timeout_millis)


class StoringLogRecordProcessor(BatchLogRecordProcessor):
    """For a `PostgresLogRecordExporter`."""

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Waits at most so long, 30 seconds if it is not said; True when every record is stored."""
        return _flush(super().force_flush, self._batch_processor._exporter, timeout_millis)


def _flush(hand_over: Callable[[], bool], exporter: Any, timeout_millis: float | None) -> bool:
    deadline = time.monotonic() + (FLUSH_MILLIS if timeout_millis is None else timeout_millis) / 1000
    done = hand_over()
    stored: bool = exporter.force_flush(max(0.0, deadline - time.monotonic()) * 1000)
    return done and stored
