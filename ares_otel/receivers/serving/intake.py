"""What all receivers share: reserve, read, decode, hand on, count, and turn errors into answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from ares_otel.model.batch import Accepted, Batch, Consumer
from ares_otel.model.errors import SenderGone
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.receivers.serving.status import Failure, failure_of
from ares_otel.receivers.serving.workers import Workers

NO_SIGNAL = "unknown"
ROW_BYTES = 400
"""What a row and its bookkeeping take beside the text that came in, about."""


class Arrival(NamedTuple):
    """What is known of a request beside its body."""

    received_ns: int
    deadline: float | None
    reservation: Reservation


class Made(NamedTuple):
    """What became of a body."""

    batch: Batch
    rejected: int = 0
    """Items that the batch leaves out, because they are invalid."""
    reason: str = ""
    """Why they are."""


class RequestIntake:
    """Takes requests of every signal that has a consumer."""

    def __init__(self, context: BuildContext, consumers: Mapping[Signal, Consumer], workers: Workers) -> None:
        self._context = context
        self._consumers = dict(consumers)
        self._errors = ErrorLog(context.log, context.clock)
        self.workers = workers

    @property
    def signals(self) -> tuple[Signal, ...]:
        return tuple(self._consumers)

    async def take_body(
        self,
        signal: Signal,
        transport: str,
        read: Callable[[Reservation], Awaitable[bytes]],
        make: Callable[[bytes, Arrival], Awaitable[Made]],
        *,
        seconds_left: float | None = None,
    ) -> Accepted | Failure:
        """Takes one request and says how to answer it. Holds its part of the memory budget until then.

        Args:
            read: gives the inflated body and reserves what it needs; may raise any error of `model.errors`.
            make: makes the batch of a body, with its items counted; may raise any error of `model.errors`.
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
                made = await make(await read(reservation), Arrival(received_ns, deadline, reservation))
                items = made.batch.items + made.rejected
                telemetry.account(signal, context.id, transport, received=items)
                reservation.grow(made.batch.items * ROW_BYTES)
                accepted = await self._consumers[signal].consume(made.batch) if made.batch.items else Accepted()
        except (asyncio.CancelledError, SenderGone):
            self._count_failure(signal, transport, items, "cancelled", retryable=True)
            raise
        except Exception as error:
            failure = failure_of(error)
            if failure.reason == "unexpected":
                self._errors.unexpected(error, f"A request with {signal.name} over {transport}")
            self._count_failure(signal, transport, items, failure.reason, retryable=failure.retry_after is not None)
            return failure
        if made.rejected:
            accepted = accepted.with_rejected(made.rejected, made.reason)
        telemetry.account_answer(signal, context.id, transport, accepted)
        self._count("otelcol_receiver_accepted_{}", signal, transport, items - accepted.rejected)
        self._count("ares_otel_receiver_rejected_{}", signal, transport, accepted.rejected)
        return accepted

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
