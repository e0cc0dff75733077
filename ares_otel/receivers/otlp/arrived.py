"""A request body that has arrived whole, and the batch that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from ares_otel.model import otlp_json_decode as json_decode
from ares_otel.model.batch import DEFAULT_TENANT, Batch, batch_key
from ares_otel.model.signal import Signal
from ares_otel.receivers.otlp import wire

MAX_ITEMS = 200_000
"""Spans, log records or data points in one request. An SDK sends 512 at a time; a megabyte can hold half a million
empty ones, each of which becomes an object and a row of hundreds of bytes."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An inflated body and what is known about it."""

    signal: Signal
    body: bytes
    received_ns: int
    receiver: str
    transport: str
    deadline: float | None

    def counted(self, items: int) -> Batch:
        """The batch, not decoded, of a body whose items were counted. Raises TooLarge for too many."""
        if items > MAX_ITEMS:
            raise wire.too_many(self.signal, MAX_ITEMS)
        return self._batch(self.body, items=items)

    def decoded(self) -> Batch:
        """The batch, decoded and counted.

        Raises:
            Rejected: the body is not a valid request.
            TooLarge: it holds too many items.
        """
        batch = self._batch(self.body)
        wire.check_items(self.body, self.signal, MAX_ITEMS)
        return self._checked(batch)

    def from_json(self) -> Batch:
        """The batch of an OTLP JSON body, known by the body as it came. Raises what `decoded` raises."""
        key = batch_key(DEFAULT_TENANT, self.signal, self.body)
        message = json_decode.decode(self.body, self.signal.request)
        return self._checked(self._batch(message.SerializeToString(), key=key, message=message))

    def _checked(self, batch: Batch) -> Batch:
        if batch.items > MAX_ITEMS:  # decodes, here, where it may take its time
            raise wire.too_many(self.signal, MAX_ITEMS)
        return batch

    def _batch(
        self, payload: bytes, *, key: bytes | None = None, message: Message | None = None, items: int | None = None
    ) -> Batch:
        return Batch(
            self.signal,
            payload,
            key=key,
            received_ns=self.received_ns,
            receiver=self.receiver,
            transport=self.transport,
            deadline=self.deadline,
            message=message,
            items=items,
        )
