"""What flows through the pipeline: OTLP bytes with a label, and the answer to them."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, Protocol

from google.protobuf.message import DecodeError, Message

from ares_otel.model.errors import Rejected
from ares_otel.model.signal import Signal

DEFAULT_TENANT = 0
DERIVED = "connector"
"""Transport of what Ares makes out of other telemetry. It says nothing about whether its service is alive."""


def batch_key(tenant_id: int, signal: Signal, payload: bytes) -> bytes:
    """The 16-byte identity of a request: equal for a retry of the same body, different for anything else.

    `payload` is the body as received, inflated but not decoded.
    """
    digest = hashlib.blake2b(payload, digest_size=16, key=b"%s/%d" % (signal.name.encode(), tenant_id))
    return digest.digest()


class Batch:
    """One request of one signal. Never changed after it was handed on: a processor hands on `child()` batches."""

    __slots__ = (
        "_items",
        "_message",
        "deadline",
        "encoding",
        "key",
        "payload",
        "received_ns",
        "receiver",
        "signal",
        "tenant_id",
        "transport",
    )

    def __init__(
        self,
        signal: Signal,
        payload: bytes,
        *,
        key: bytes | None = None,
        tenant_id: int = DEFAULT_TENANT,
        received_ns: int,
        receiver: str,
        transport: str,
        deadline: float | None = None,
        encoding: Literal["otlp"] = "otlp",
        message: Message | None = None,
        items: int | None = None,
    ) -> None:
        """
        Args:
            payload: an `Export<Signal>ServiceRequest` in protobuf.
            key: identity of the request, 16 bytes; computed from the payload when not given. A receiver of another
                encoding (JSON) gives the key of the body as it came.
            received_ns: when the request arrived, nanoseconds since 1970.
            receiver: component id of the receiver, for example `otlp`.
            transport: `grpc` or `http`; `DERIVED` for what a connector made.
            deadline: `Clock.monotonic()` time after which nobody waits for the answer any more.
            message: the decoded payload, when the receiver has it already.
            items: how many items it has, when the receiver has counted them.
        """
        self.signal = signal
        self.payload = payload
        self.key = key if key is not None else batch_key(tenant_id, signal, payload)
        self.tenant_id = tenant_id
        self.received_ns = received_ns
        self.receiver = receiver
        self.transport = transport
        self.deadline = deadline
        self.encoding = encoding
        self._message = message
        self._items = items

    def message(self) -> Any:
        """The request, decoded once. Shared: whoever wants to change it works on `copy_message()`.

        Raises:
            Rejected: the payload is not a valid message.
        """
        if self._message is None:
            message = self.signal.request()
            try:
                message.ParseFromString(self.payload)
            except DecodeError as error:
                raise Rejected(
                    f"The body is not a valid {self.signal.request.DESCRIPTOR.name} protobuf message."
                ) from error
            self._message = message
        return self._message

    def copy_message(self) -> Any:
        """A decoded copy of the request that the caller may change."""
        copy = self.signal.request()
        copy.CopyFrom(self.message())
        return copy

    @property
    def items(self) -> int:
        """Number of spans, log records or data points. Decodes the payload when that was not done yet."""
        if self._items is None:
            self._items = self.signal.count(self.message())
        return self._items

    def undecoded(self) -> Batch:
        """The same batch without the decoded message, which takes several times the payload's memory: for batches
        that have to wait."""
        return Batch(
            self.signal,
            self.payload,
            key=self.key,
            tenant_id=self.tenant_id,
            received_ns=self.received_ns,
            receiver=self.receiver,
            transport=self.transport,
            deadline=self.deadline,
            encoding=self.encoding,
            items=self._items,
        )

    def child(self, message: Message, *, component: str, ordinal: int = 0) -> Batch:
        """A batch made from this one by a processor. Its key follows from the parent's key, the component's id and the
        ordinal, so that a retried request gives the same keys again."""
        digest = hashlib.blake2b(self.key, digest_size=16, key=f"{component}/{ordinal}".encode()[:64])
        return Batch(
            self.signal,
            message.SerializeToString(),
            key=digest.digest(),
            tenant_id=self.tenant_id,
            received_ns=self.received_ns,
            receiver=self.receiver,
            transport=self.transport,
            deadline=self.deadline,
            message=message,
        )


class Accepted:
    """The answer to a batch: what became of each of its items.

    `stored + deduplicated + spooled + rejected + dropped` is the number of items of the batch. `stored` also counts
    what an exporter without a store (otlp, debug) took over.
    """

    __slots__ = ("deduplicated", "dropped", "reason", "rejected", "spooled", "stored")

    def __init__(
        self,
        stored: int = 0,
        *,
        deduplicated: int = 0,
        spooled: int = 0,
        rejected: int = 0,
        dropped: int = 0,
        reason: str = "",
    ) -> None:
        self.stored = stored
        self.deduplicated = deduplicated
        """Items of a request that was stored before: a retry, answered as the first time."""
        self.spooled = spooled
        """Items that are safe on disk and wait there for the database."""
        self.rejected = rejected
        """Items that are invalid: the sender is told by partial success."""
        self.dropped = dropped
        """Items that the configuration (filter, sampler) does not want; for the sender they are accepted."""
        self.reason = reason
        """Why items were rejected; empty when none was."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Accepted) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        return f"Accepted({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def with_rejected(self, rejected: int, reason: str) -> Accepted:
        """This answer, with `rejected` more items that never came so far, and why."""
        return Accepted(
            self.stored,
            deduplicated=self.deduplicated,
            spooled=self.spooled,
            rejected=self.rejected + rejected,
            dropped=self.dropped,
            reason=reason or self.reason,
        )

    def with_dropped(self, dropped: int) -> Accepted:
        """This answer, with `dropped` more items that a processor took out before."""
        return Accepted(
            self.stored,
            deduplicated=self.deduplicated,
            spooled=self.spooled,
            rejected=self.rejected,
            dropped=self.dropped + dropped,
            reason=self.reason,
        )


class Consumer(Protocol):
    """Takes batches. The call is the acknowledgement: it returns when the batch is safe, and not before.

    * Returns `Accepted` when every item has been stored, recognised as stored before, rejected or dropped on purpose.
    * Raises `Retryable` when nothing of the batch was kept, or it is unknown whether it was; the sender sends it again.
    * Raises `Rejected` when nothing was kept and sending it again cannot help.
    * Any other exception counts as `Retryable` for the sender and is logged once, with its traceback.
    * MUST NOT change the batch, and MUST be safe to call from many tasks at once.
    * May be cancelled (the sender went away); the batch is then either stored whole or not at all.
    """

    async def consume(self, batch: Batch) -> Accepted: ...
