"""How an OTLP body becomes a batch: counted, and decoded only where it has to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.json_text import memory_estimate
from ares_otel.model.scan import BodyScanner
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.receivers.otlp import wire
from ares_otel.receivers.otlp.arrived import MAX_ITEMS, Arrived
from ares_otel.receivers.serving.intake import Arrival, Made, RequestIntake
from ares_otel.receivers.serving.status import Failure
from ares_otel.receivers.serving.workers import Workers

SCAN_INLINE_BYTES = 1024 * 1024
"""Up to this size a body is scanned and hashed on the event loop, which takes about a millisecond."""


class Intake(RequestIntake):
    """Takes OTLP requests of every signal that has a consumer, over both transports."""

    def __init__(self, context: BuildContext, consumers: Mapping[Signal, Consumer], workers: Workers) -> None:
        super().__init__(context, consumers, workers)
        self._receiver = context.id
        self._scanner: BodyScanner | None = context.services.get(BodyScanner)

    async def take(
        self,
        signal: Signal,
        transport: str,
        read: Callable[[Reservation], Awaitable[bytes]],
        *,
        json: bool = False,
        seconds_left: float | None = None,
    ) -> Accepted | Failure:
        """Takes one request: see `take_body`.

        Args:
            json: the body is OTLP JSON, not protobuf.
        """

        async def make(body: bytes, arrival: Arrival) -> Made:
            arrived = Arrived(signal, body, arrival.received_ns, self._receiver, transport, arrival.deadline)
            return Made(await self._batch(arrived, arrival.reservation, json=json))

        return await self.take_body(signal, transport, read, make, seconds_left=seconds_left)

    async def _batch(self, arrived: Arrived, reservation: Reservation, *, json: bool) -> Batch:
        """The batch of a body, counted; decoded only where it cannot be counted otherwise, or is JSON.

        Raises:
            Rejected: the body is not a valid request.
            TooLarge: it holds too many items.
            Overloaded: there is no memory for it now.
        """
        body, run = arrived.body, self.workers.run
        if json:
            reservation.grow(await run(len(body), lambda: memory_estimate(body)))
            return await run(len(body), arrived.from_json)
        if (scanner := self._scanner) is not None:
            scan = partial(scanner.scan, arrived.signal, body, MAX_ITEMS)
            size = await run(len(body), scan, inline_bytes=SCAN_INLINE_BYTES)
            if size is not None and size.items:  # nobody else looks into one without items: it may be malformed
                reservation.grow(size.memory_bytes)
                return await run(len(body), partial(arrived.counted, size.items), inline_bytes=SCAN_INLINE_BYTES)
        reservation.grow(await run(len(body), lambda: wire.memory_estimate(body)))
        return await run(len(body), arrived.decoded)
