"""OTLP's `TraceService/Export` on another port than the receiver's: the request goes the same way as there.

In one process it is the receiver itself that takes it. With workers, where the receivers are in other processes, it is
handed on to Ares's own OTLP/gRPC door. What that answers is the answer: it is a promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from ares_otel.cli.ingest import Ingest, LocalIngest
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grpc_door import Calls
from ares_otel.pipeline.grpc_message import only_message
from ares_otel.pipeline.grpc_reading import Reading
from ares_otel.receivers.otlp.config import GrpcConfig, OtlpReceiverConfig
from ares_otel.receivers.otlp.grpc_export import Handler, abort
from ares_otel.receivers.otlp.grpc_server import MIB
from ares_otel.receivers.otlp.receiver import OtlpReceiver
from ares_otel.receivers.serving.status import Failure, failure_of

METHOD = f"/{TRACES.service}/Export"
HANDED_ON_SECONDS = 60.0
"""For a request whose sender did not say how long it waits."""
_DETAILS = "grpc-status-details-bin"
NO_RECEIVER = (
    "No pipeline of this Ares takes traces from an otlp receiver; add one to the pipeline configuration, or write to "
    "another storage."
)
NO_DOOR = (
    "With --workers, traces that are written here go on to the otlp receiver's gRPC door, and the pipeline "
    "configuration has none; add protocols.grpc to it."
)


def largest_message(config: PipelineConfig) -> int:
    """Bytes of the largest request that an otlp receiver of the configuration takes over gRPC."""
    limits = [GrpcConfig().max_recv_msg_size_mib]
    for spec in config.receivers.values():
        if isinstance(spec.config, OtlpReceiverConfig) and (settings := spec.config.protocols.grpc) is not None:
            limits.append(settings.max_recv_msg_size_mib)
    return max(limits) * MIB


class TraceWrites:
    """Takes `Export` calls for whatever configuration runs now."""

    def __init__(
        self, ingest: Callable[[], Ingest | None], admission: Admission, message_bytes: int, calls: Calls
    ) -> None:
        """
        Args:
            ingest: gives the running pipelines; None while there are none.
            admission: memory for requests that are handed on.
            message_bytes: the largest request.
            calls: where calls in work are noted.
        """
        self._ingest = ingest
        self._calls = calls
        self._reading = Reading(admission, message_bytes)
        self._admission = admission
        self._target = ""
        self._channel: grpc.aio.Channel | None = None
        self._left: list[grpc.aio.Channel] = []
        """To doors that were elsewhere before a reload."""

    def handler(self) -> grpc.RpcMethodHandler[Any, Any]:
        """Registered with a stream of requests (ADR 010)."""
        return grpc.stream_unary_rpc_method_handler(self._export)

    async def stop(self) -> None:
        """Closes the connections to the other door. Safe twice."""
        if self._channel is not None:
            self._left.append(self._channel)
            self._channel = None
        while self._left:
            await self._left.pop().close(None)

    async def _export(self, requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            with self._calls.one():
                return await self._answer(requests, context)
        except asyncio.CancelledError:
            if not self._calls.over:
                raise
        await abort(context, failure_of(Retryable("The server is shutting down; send the request again.")))
        raise AssertionError("unreachable: abort raises")

    async def _answer(self, requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        ingest = self._ingest()
        if ingest is None:
            await abort(context, failure_of(Retryable("Ares is starting; send the request again.")))
        if isinstance(ingest, LocalIngest):
            taker = _receiver_of(ingest)
            if taker is None:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_RECEIVER)
                raise AssertionError("unreachable: abort raises")
            return await taker(requests, context)
        assert ingest is not None
        return await self._handed_on(ingest.doors.get("otlp-grpc", ""), context)

    async def _handed_on(self, target: str, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if not target:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_DOOR)
        try:
            with self._admission.reservation() as reservation:
                message: bytes = await self._reading.read(reservation, lambda: only_message(context))
                export = self._to(target).unary_unary(METHOD, None, None)
                # As it came: also the receiver looks whether it is compressed.
                answer: bytes = await export(message, timeout=context.time_remaining() or HANDED_ON_SECONDS)
                return answer
        except grpc.aio.AioRpcError as error:
            trailers: Any = error.trailing_metadata() or ()
            details = [(key, value) for key, value in trailers if key == _DETAILS]
            await context.abort(error.code(), error.details() or "", trailing_metadata=tuple(details))
        except (Rejected, Retryable) as error:
            failure: Failure = failure_of(error)
            await abort(context, failure)
        raise AssertionError("unreachable: abort raises")

    def _to(self, target: str) -> grpc.aio.Channel:
        if self._channel is None or target != self._target:
            if self._channel is not None:
                self._left.append(self._channel)  # calls may be on it
            self._target = target
            self._channel = grpc.aio.insecure_channel(target)
        return self._channel


def _receiver_of(ingest: LocalIngest) -> Handler | None:
    """The otlp receiver that takes traces: the one called `otlp`, else the first of the configuration."""
    receivers = {
        id: receiver
        for id, receiver in ingest.receivers.items()
        if isinstance(receiver, OtlpReceiver) and TRACES in receiver.export.signals
    }
    chosen = receivers.get("otlp") or next(iter(receivers.values()), None)
    return None if chosen is None else chosen.export.handler(TRACES)
