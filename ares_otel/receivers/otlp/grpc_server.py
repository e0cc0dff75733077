"""OTLP/gRPC: three services, one handler.

Source: OTLP specification 1.x, "OTLP/gRPC"; option names of gRPC core from grpc/impl/channel_arg_names.h.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Admission, Reservation
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.listen import bind, shown
from ares_otel.pipeline.shared_ports import ROTATION_SECONDS
from ares_otel.receivers.otlp.config import GrpcConfig
from ares_otel.receivers.otlp.intake import Intake
from ares_otel.receivers.otlp.reading import Reading
from ares_otel.receivers.otlp.response import response_body
from ares_otel.receivers.serving.body import SenderGone
from ares_otel.receivers.serving.http_config import split_endpoint
from ares_otel.receivers.serving.inflate import inflate
from ares_otel.receivers.serving.status import PROTOBUF, Failure, capped, failure_of

TRANSPORT = "grpc"
_LAST_WORDS_SECONDS = 1.0
_MIB = 1024 * 1024
_NEVER_MS = 2**31 - 1
_HANDSHAKE_MS = 10_000
"""From the connection to the client's first settings. gRPC's own default is two minutes."""
_WINDOW_BYTES = 64 * 1024
"""What a call may send before its message is read (RFC 9113 §6.9.2: the initial window)."""
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")

Handler = Callable[[object, Any], Awaitable[bytes]]


def server_options(config: GrpcConfig, *, shared: bool = False) -> list[tuple[str, int]]:
    """Options of gRPC core for this configuration. `shared`: other processes of this Ares listen on the port too."""
    life = config.keepalive.server_parameters
    age = life.max_connection_age
    if shared and "max_connection_age" not in life.model_fields_set:
        age = ROTATION_SECONDS  # gRPC itself adds or takes a tenth
    policy = config.keepalive.enforcement_policy
    return [
        # One listener a port: a second server on it is an error, not a silent sharer. Workers share what was reserved.
        ("grpc.so_reuseport", int(shared)),
        # The handler gets messages as they were sent, and inflates them within the memory budget. gRPC would inflate
        # before anybody is asked.
        ("grpc.per_message_decompression", 0),
        ("grpc.max_receive_message_length", config.max_recv_msg_size_mib * _MIB),
        # A message is read when it has a place, and until then no more of it is in memory than HTTP/2's first window.
        # With the probe gRPC would widen the windows of a fast connection to megabytes, for every call on it.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", config.max_allowed_incoming_connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.http2.settings_timeout", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _milliseconds(life.max_connection_idle)),
        ("grpc.max_connection_age_ms", _milliseconds(age)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(life.max_connection_age_grace)),
        ("grpc.keepalive_time_ms", _milliseconds(life.time)),
        # Two clocks run for a ping, and the connection ends with the second: one minute unless it is set too.
        ("grpc.keepalive_timeout_ms", _milliseconds(life.timeout)),
        ("grpc.http2.ping_timeout_ms", _milliseconds(life.timeout)),
        ("grpc.http2.min_ping_interval_without_data_ms", int(policy.min_time * 1000)),
        ("grpc.keepalive_permit_without_calls", int(policy.permit_without_stream)),
    ]


def _milliseconds(seconds: float) -> int:
    """gRPC's milliseconds; 0 means never, as in the Collector."""
    return min(_NEVER_MS, max(1, int(seconds * 1000))) if seconds else _NEVER_MS


class OtlpGrpcServer:
    """Serves `Export` of every signal that has a consumer; of the others it says UNIMPLEMENTED, as gRPC does."""

    def __init__(
        self,
        config: GrpcConfig,
        intake: Intake,
        setting: str,
        host_setting: str,
        *,
        grace: Grace,
        admission: Admission,
        shared_port: int | None = None,
    ) -> None:
        """
        Args:
            shared_port: what to listen on instead of the configured port, together with other processes of this Ares.
            setting: name of the option that holds the port, for error messages.
            host_setting: name of the option that holds the host, for error messages.
        """
        self._config = config
        self._intake = intake
        self._setting = setting
        self._host_setting = host_setting
        self._shared_port = shared_port
        self._limit = config.max_recv_msg_size_mib * _MIB
        self._grace = grace
        self._reading = Reading(admission, self._limit)
        self._calls: set[asyncio.Task[Any]] = set()
        self._over = False
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """`host:port` in use, empty before `start`."""

    async def start(self) -> None:
        """Listens.

        Raises:
            StartError: the port is taken or must not be used, or the host is unknown.
        """
        host, port = split_endpoint(self._config.endpoint)
        shared = self._shared_port is not None
        port = self._shared_port or port
        # gRPC core only says that binding failed, with a page of log lines; a plain socket says why.
        for probe in bind(host, port, self._setting, self._host_setting, shared=shared):
            probe.close()
        server = grpc.aio.server(options=server_options(self._config, shared=shared))
        for signal in self._intake.signals:
            # On the wire the same as unary. But a unary handler is called with the message, read whole for everybody
            # who sends one; this one is called before, and reads when there is room.
            method = grpc.stream_unary_rpc_method_handler(self._handler(signal))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(signal.service, {"Export": method}),))
        try:
            port = server.add_insecure_port(shown(host or "::", port))
        except RuntimeError as error:
            raise StartError(f"Ares cannot listen on {shown(host, port)}; change {self._setting}.") from error
        await server.start()
        self._server = server
        self.address = shown(host, port)

    async def stop(self) -> None:
        """Takes no new calls (GOAWAY), finishes those in flight within the grace, and answers the others UNAVAILABLE.
        Safe without `start`, and twice."""
        server, self._server = self._server, None
        if server is None:
            return
        stopping = asyncio.create_task(server.stop(_NEVER_MS / 1000))
        over = asyncio.create_task(self._grace.requests_over())
        await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not stopping.done():
            self._over = True
            for call in self._calls:
                call.cancel()
            await asyncio.wait({stopping}, timeout=_LAST_WORDS_SECONDS)
            await server.stop(None)
        await stopping

    def _handler(self, signal: Signal) -> Handler:
        async def export(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            self._calls.add(task)
            try:
                answer = await self._take(signal, context)
            except asyncio.CancelledError:
                if not self._over:
                    raise
                answer = failure_of(Retryable("The server is shutting down; send the request again."))
            finally:
                self._calls.discard(task)
            if isinstance(answer, bytes):
                return answer
            await _abort(context, answer)
            raise AssertionError("unreachable: abort raises")

        return export

    async def _take(self, signal: Signal, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes | Failure:
        async def read(reservation: Reservation) -> bytes:
            message: bytes = await self._reading.read(reservation, lambda: _only_message(context))
            encoding = _encoding(message)
            if not encoding:
                return message
            return await inflate(message, encoding, self._limit, reservation, self._intake.workers)

        answer = await self._intake.take(signal, TRANSPORT, read, seconds_left=context.time_remaining())
        return answer if isinstance(answer, Failure) else response_body(signal, answer, PROTOBUF)


async def _only_message(context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """The message of a call that has exactly one.

    Raises:
        Rejected: it has none, or more.
        SenderGone: the sender left in the middle.
    """
    message: object = await context.read()
    if not isinstance(message, bytes):
        if context.cancelled():
            raise SenderGone
        raise Rejected("The call ended without a request message.")
    if isinstance(await context.read(), bytes):
        raise Rejected("The call has more than one request message.")
    return message


def _encoding(message: bytes) -> str:
    """How a message is compressed. gRPC does not tell the handler, but no request starts like compressed data: 0x1f
    would be a field of wire type 7, which does not exist, and 0x78 a field 15, which no OTLP request has."""
    if message.startswith(_GZIP):
        return "gzip"
    return "deflate" if message.startswith(_ZLIB) else ""


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], failure: Failure) -> None:
    await context.abort(
        failure.grpc_code,
        capped(failure.message),
        trailing_metadata=(("grpc-status-details-bin", failure.status().SerializeToString()),),
    )
