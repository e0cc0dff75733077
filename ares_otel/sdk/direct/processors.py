"""The SDK's batch processors, with a `force_flush` that waits for the database.

The SDK's own hands its batch to the exporter's `export`, which does not wait here, and says True.
"""

from __future__ import annotations

import time

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

FLUSH_MILLIS = 30_000.0


class StoringSpanProcessor(BatchSpanProcessor):
    """For a `PostgresSpanExporter`."""

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Waits at most so long, 30 seconds if it is not said; True when every span that has ended is stored."""
        deadline = _deadline(timeout_millis)
        return super().force_flush() and self._batch_processor._exporter.force_flush(_left(deadline))


class StoringLogRecordProcessor(BatchLogRecordProcessor):
    """For a `PostgresLogRecordExporter`."""

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Waits at most so long, 30 seconds if it is not said; True when every record is stored."""
        deadline = _deadline(timeout_millis)
        return super().force_flush() and self._batch_processor._exporter.force_flush(_left(deadline))


def _deadline(timeout_millis: float | None) -> float:
    return time.monotonic() + (FLUSH_MILLIS if timeout_millis is None else timeout_millis) / 1000


def _left(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))
