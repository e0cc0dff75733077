"""The way in: one request of any signal → rows. Which encoder does it is chosen in `implementation.py`."""

from __future__ import annotations

from ares_otel.model.batch import Batch
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.rows.known import KnownSeries


def encode_batch(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """Turns a request into rows, definitions and counts. Pure: the same arguments give the same bytes.

    An invalid item is left out and counted in `rejected` and `reasons`; the others are encoded.

    Args:
        windows: the time range that the partitions of each telemetry table cover; rows outside are filed under
            `batch.received_ns`.
        known: metric series that are not defined again.

    Raises:
        Rejected: the payload is not a valid message.
        TooLarge: it takes more than `MAX_BYTES` as rows and definitions.
        StartError: `ARES_OTEL_IMPL` asks for an encoder that is not there.
    """
    return active().encode(batch, windows, known)
