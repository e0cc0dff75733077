"""What the spool keeps of a request: its bytes, its key, and the answer that its sender was given."""

from __future__ import annotations

from dataclasses import dataclass

from ares_otel.model.batch import Batch
from ares_otel.model.signal import Signal


@dataclass(frozen=True, slots=True)
class SpoolRecord:
    """One acknowledged request."""

    key: bytes
    """Identity of the request, 16 bytes; its receipt in the database has the same."""
    signal: Signal
    tenant_id: int
    received_ns: int
    """When it arrived, nanoseconds since 1970."""
    receiver: str
    transport: str
    encoding: str
    """Encoding of `payload`: `otlp`."""
    items: int
    """Items in the request, the rejected ones included."""
    rejected: int
    """Items that are invalid, as the sender was told."""
    reason: str
    """Why, as the sender was told; empty when none was rejected."""
    payload: bytes

    @classmethod
    def of(cls, batch: Batch, *, items: int, rejected: int = 0, reason: str = "") -> SpoolRecord:
        """What is kept of a batch."""
        return cls(
            key=batch.key,
            signal=batch.signal,
            tenant_id=batch.tenant_id,
            received_ns=batch.received_ns,
            receiver=batch.receiver,
            transport=batch.transport,
            encoding=batch.encoding,
            items=items,
            rejected=rejected,
            reason=reason,
            payload=batch.payload,
        )
