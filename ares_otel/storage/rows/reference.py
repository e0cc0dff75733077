"""The reference: the row encoder in pure Python, which the native one must equal byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows.context import Encoding
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.rows.logs import encode_logs
from ares_otel.storage.rows.metrics import encode_metrics
from ares_otel.storage.rows.spans import encode_spans

ENCODERS: dict[Signal, Callable[[Encoding, Any], None]] = {
    TRACES: encode_spans,
    LOGS: encode_logs,
    METRICS: encode_metrics,
}


def encode_batch(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """See `encode.encode_batch`."""
    encoding = Encoding(batch, windows, known)
    encoding.out.source, encoding.out.windows = batch, windows
    ENCODERS[batch.signal](encoding, batch.message())
    return encoding.out
