"""How a remote write body becomes a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ares_otel.model.batch import DEFAULT_TENANT, Accepted, Batch, Consumer, batch_key
from ares_otel.model.errors import Rejected, TooLarge
from ares_otel.model.prometheus import snappy_blocks
from ares_otel.model.prometheus.metadata import MetadataBook
from ares_otel.model.signal import METRICS, Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.receivers.prometheusremotewrite.decode import decode_v1, decode_v2, memory
from ares_otel.receivers.prometheusremotewrite.series import SeriesBook
from ares_otel.receivers.prometheusremotewrite.written import Decoded, Written
from ares_otel.receivers.serving.http_app import TRANSPORT
from ares_otel.receivers.serving.intake import Arrival, Made, RequestIntake
from ares_otel.receivers.serving.status import Failure
from ares_otel.receivers.serving.workers import Workers

BOOK_BYTES = 32 * 1024 * 1024
"""Of series that a receiver remembers: some 40,000 of ten labels."""
DECODE_INLINE_BYTES = 64 * 1024
"""Up to this size a body is decoded on the event loop: some 300 samples, a few milliseconds."""


class RemoteWriteIntake(RequestIntake):
    """Takes requests of both versions."""

    def __init__(self, context: BuildContext, consumers: Mapping[Signal, Consumer], workers: Workers) -> None:
        super().__init__(context, consumers, workers)
        self._receiver = context.id
        self._series = SeriesBook(BOOK_BYTES)
        self._metadata: MetadataBook | None = context.services.get(MetadataBook)
        self._exemplars = context.telemetry.counter("ares_otel_remote_write_exemplars")

    async def take(
        self, read: Callable[[Reservation], Awaitable[bytes]], limit: int, *, second: bool
    ) -> tuple[Accepted | Failure, Written]:
        """Takes one request: see `take_body`. Also says what of it is written.

        Args:
            limit: largest inflated body, bytes.
            second: it is one of 2.0.
        """
        decoded: list[Decoded] = []

        async def make(body: bytes, arrival: Arrival) -> Made:
            made = await self._make(body, arrival, limit, second=second)
            decoded.append(made[1])
            return made[0]

        answer = await self.take_body(METRICS, TRANSPORT, read, make)
        if isinstance(answer, Failure):
            return answer, Written()
        [found] = decoded
        for outcome, count in (("stored", found.written.exemplars), ("left_out", found.left_exemplars)):
            if count:
                self._exemplars.labels(receiver=self._receiver, outcome=outcome).inc(count)
        if self._metadata is not None and found.metadata:
            self._metadata.note(DEFAULT_TENANT, found.metadata)
        refused = answer.rejected - found.rejected
        if found.reason and not answer.rejected:
            answer = answer.with_rejected(0, found.reason)
        return answer, found.written.without(refused) if refused else found.written

    async def _make(self, body: bytes, arrival: Arrival, limit: int, *, second: bool) -> tuple[Made, Decoded]:
        run, reservation = self.workers.run, arrival.reservation
        size = _inflated_size(body, limit)
        reservation.grow(2 * size)
        inflated = await run(size, lambda: _inflated(body, limit))
        reservation.grow(await run(size, lambda: memory(inflated, second=second)))
        work = partial(self._decoded, inflated, arrival, second=second)
        return await run(size, work, inline_bytes=DECODE_INLINE_BYTES)

    def _decoded(self, inflated: bytes, arrival: Arrival, *, second: bool) -> tuple[Made, Decoded]:
        decode = decode_v2 if second else decode_v1
        decoded = decode(inflated, arrival.received_ns, self._series)
        batch = Batch(
            METRICS,
            decoded.payload,
            key=batch_key(DEFAULT_TENANT, METRICS, (b"remote write 2" if second else b"remote write 1") + inflated),
            received_ns=arrival.received_ns,
            receiver=self._receiver,
            transport=TRANSPORT,
            deadline=arrival.deadline,
            items=decoded.written.points,
        )
        return Made(batch, decoded.rejected, decoded.reason), decoded


def _inflated_size(body: bytes, limit: int) -> int:
    """Raises Rejected, and TooLarge: more than `limit` bytes."""
    try:
        return snappy_blocks.content_length(body, limit)
    except snappy_blocks.TooLarge as error:
        raise TooLarge(
            f"The body inflates to {error}, more than {limit} (max_request_body_size); send less at once."
        ) from None
    except snappy_blocks.NotSnappy as error:
        raise _no_block(error) from None


def _inflated(body: bytes, limit: int) -> bytes:
    """Raises Rejected."""
    try:
        return snappy_blocks.inflate(body, limit)
    except snappy_blocks.NotSnappy as error:
        raise _no_block(error) from None


def _no_block(error: snappy_blocks.NotSnappy) -> Rejected:
    return Rejected(f"The body is not compressed by snappy in its block format: {error}.")
