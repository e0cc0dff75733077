"""What both transports share: reserve, read, decode, hand on, count, and turn errors into answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.scan import BodyScanner
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.grpc_message import SenderGone
from ares_otel.receivers.otlp import json_decode, wire
from ares_otel.receivers.otlp.arrived import MAX_ITEMS, Arrived
from ares_otel.receivers.otlp.status import Failure, failure_of
from ares_otel.receivers.otlp.workers import Workers

NO_SIGNAL = "unknown"
ROW_BYTES = 400
"""What a row and its bookkeeping take beside the text that came in, about."""


SCAN_INLINE_BYTES = 1024 * 1024
"""Up to this size a body is scanned and hashed on the event loop, which takes about a millisecond."""


class Intake:
    """Takes requests of every signal that has a consumer."""

    def __init__(self, context: BuildContext, consumers: Mapping[Signal, Consumer], workers: Workers) -> None:
        self._context = context
        self._consumers = dict(consumers)
        self._errors = ErrorLog(context.log, context.clock)
        self._scanner: BodyScanner | None = context.services.get(BodyScanner)
        self.workers = workers

    @property
    def signals(self) -> tuple[Signal, ...]:
        return tuple(self._consumers)

    async def take(
        self,
        signal: Signal,
        transport: str,
        read: Callable[[Reservation], Awaitable[bytes]],
        *,
        json: bool = False,
        seconds_left: float | None = None,
    ) -> Accepted | Failure:
        """Takes one request and says how to answer it. Holds its part of the memory budget until then.

        Args:
            read: gives the inflated body and reserves what it needs; may raise any error of `model.errors`.
            json: the body is OTLP JSON, not protobuf.
            seconds_left: how long the sender waits, when it said so.

        Raises:
            SenderGone: from `read`; counted.
        """
        context, telemetry = self._context, self._context.telemetry
        received_ns = context.clock.time_ns()
        deadline = None if seconds_left is None else context.clock.monotonic() + seconds_left
        items: int | None = None
        try:
            with context.admission.reservation() as reservation:
                body = await read(reservation)
                arrived = Arrived(signal, body, received_ns, context.id, transport, deadline)
                batch = await self._batch(arrived, reservation, json=json)
                items = batch.items
                telemetry.account(signal, context.id, transport, received=items)
                reservation.grow(items * ROW_BYTES)
                accepted = await self._consumers[signal].consume(batch) if items else Accepted()
        except (asyncio.CancelledError, SenderGone):
            self._count_failure(signal, transport, items, "cancelled", retryable=True)
            raise
        except Exception as error:
            failure = failure_of(error)
            if failure.reason == "unexpected":
                self._errors.unexpected(error, f"A request with {signal.name} over {transport}")
            self._count_failure(signal, transport, items, failure.reason, retryable=failure.retry_after is not None)
            return failure
        telemetry.account_answer(signal, context.id, transport, accepted)
        self._count("otelcol_receiver_accepted_{}", signal, transport, items - accepted.rejected)
        self._count("ares_otel_receiver_rejected_{}", signal, transport, accepted.rejected)
        return accepted

    async def _batch(self, arrived: Arrived, reservation: Reservation, *, json: bool) -> Batch:
        """The batch of a body, counted; decoded only where it cannot be counted otherwise, or is JSON.

        Raises:
            Rejected: the body is not a valid request.
            TooLarge: it holds too many items.
            Overloaded: there is no memory for it now.
        """
        body, run = arrived.body, self.workers.run
        if json:
            reservation.grow(await run(len(body), lambda: json_decode.memory_estimate(body)))
            return await run(len(body), arrived.from_json)
        if (scanner := self._scanner) is not None:
            scan = partial(scanner.scan, arrived.signal, body, MAX_ITEMS)
            size = await run(len(body), scan, inline_bytes=SCAN_INLINE_BYTES)
            if size is not None and size.items:  # nobody else looks into one without items: it may be malformed
                reservation.grow(size.memory_bytes)
                return await run(len(body), partial(arrived.counted, size.items), inline_bytes=SCAN_INLINE_BYTES)
        reservation.grow(await run(len(body), lambda: wire.memory_estimate(body)))
        return await run(len(body), arrived.decoded)

    def refused(self, signal: Signal | None, transport: str, reason: str) -> None:
        """Counts a request that was answered with an error before its items could be counted."""
        self._context.telemetry.counter("ares_otel_receiver_refused_requests").labels(
            receiver=self._context.id,
            transport=transport,
            signal=NO_SIGNAL if signal is None else signal.name,
            reason=reason,
        ).inc()

    def _count_failure(
        self, signal: Signal, transport: str, items: int | None, reason: str, *, retryable: bool
    ) -> None:
        if items is None:
            self.refused(signal, transport, reason)
        else:
            name = "otelcol_receiver_refused_{}" if retryable else "ares_otel_receiver_rejected_{}"
            self._count(name, signal, transport, items)
            outcome = "refused" if retryable else "rejected"
            self._context.telemetry.account(signal, self._context.id, transport, **{outcome: items})

    def _count(self, name: str, signal: Signal, transport: str, amount: int) -> None:
        self._context.telemetry.count_items(name, signal, amount, receiver=self._context.id, transport=transport)
