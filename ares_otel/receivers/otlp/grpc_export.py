"""`Export` over gRPC, as a handler for whichever gRPC server has the port.

Source: OTLP specification 1.x, "OTLP/gRPC".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from ares_otel.model.errors import Retryable
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Admission, Reservation
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import Calls
from ares_otel.pipeline.grpc_message import encoding_of, only_message
from ares_otel.pipeline.grpc_reading import Reading
from ares_otel.receivers.otlp.intake import Intake
from ares_otel.receivers.otlp.response import response_body
from ares_otel.receivers.serving.inflate import inflate
from ares_otel.receivers.serving.status import PROTOBUF, Failure, capped, failure_of

TRANSPORT = "grpc"
_LAST_WORDS_SECONDS = 1.0

Handler = Callable[[object, Any], Awaitable[bytes]]


class GrpcExport:
    """Takes requests over gRPC, also those that came to another port of this Ares than the receiver's own."""

    def __init__(self, intake: Intake, admission: Admission, message_bytes: int) -> None:
        """
        Args:
            message_bytes: largest request, before and after decompression.
        """
        self._intake = intake
        self._limit = message_bytes
        self._reading = Reading(admission, message_bytes)
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0
        self.stopped = False
        """Whether it takes no new calls."""
        self.calls = Calls()

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What has a consumer."""
        return self._intake.signals

    def handler(self, signal: Signal) -> Handler:
        """Handles a call of a method that is registered with a stream of requests (ADR 010): on the wire it is the same
        as unary, but the message is read when there is room."""

        async def export(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            stopping = failure_of(Retryable("The server is shutting down; send the request again."))
            self._enter()
            try:
                with self.calls.one():
                    answer = stopping if self.stopped else await self._take(signal, context)
            except asyncio.CancelledError:
                if not self.calls.over:
                    raise
                answer = stopping
            finally:
                self._leave()
            if isinstance(answer, bytes):
                return answer
            await abort(context, answer)
            raise AssertionError("unreachable: abort raises")

        return export

    async def stop(self, grace: Grace) -> None:
        """Takes no new calls, and returns when none is in work any more; those that still are when their time is over
        are cut."""
        self.stopped = True
        if not self._inside:
            return
        empty = asyncio.create_task(self._empty.wait())
        over = asyncio.create_task(grace.requests_over())
        await asyncio.wait({empty, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not empty.done():
            self.calls.cut()
            await asyncio.wait({empty}, timeout=_LAST_WORDS_SECONDS)
            empty.cancel()

    def _enter(self) -> None:
        self._inside += 1
        self._empty.clear()

    def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def _take(self, signal: Signal, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes | Failure:
        async def read(reservation: Reservation) -> bytes:
            message: bytes = await self._reading.read(reservation, lambda: only_message(context))
            encoding = encoding_of(message)
            if not encoding:
                return message
            return await inflate(message, encoding, self._limit, reservation, self._intake.workers)

        answer = await self._intake.take(signal, TRANSPORT, read, seconds_left=context.time_remaining())
        return answer if isinstance(answer, Failure) else response_body(signal, answer, PROTOBUF)


async def abort(context: grpc.aio.ServicerContext[bytes, bytes], failure: Failure) -> None:
    """Ends a call with an error, and with its details."""
    await context.abort(
        failure.grpc_code,
        capped(failure.message),
        trailing_metadata=(("grpc-status-details-bin", failure.status().SerializeToString()),),
    )
