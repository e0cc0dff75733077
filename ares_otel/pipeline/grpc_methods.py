"""Handlers of methods that ask: requests are small, answers may be long, and a caller may be slow or gone."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from ares_otel.model.clock import SYSTEM_CLOCK
from ares_otel.model.errors import Rejected, Retryable, SenderGone
from ares_otel.model.rpc import (
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    RpcFailure,
    RpcMethod,
)
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.grpc_door import Calls, Methods
from ares_otel.pipeline.grpc_message import encoding_of, only_message
from ares_otel.pipeline.grpc_reading import Reading

REQUEST_BYTES = 1024 * 1024
"""Largest request, inflated: a condition that needs more would take too long anyway."""
STALL_SECONDS = 30.0
"""In which a caller has to take the next piece of a stream: what is read for it holds a connection to the database."""
_MESSAGE_BYTES = 1000
"""A message travels in a trailer, with three bytes for one; clients limit trailers to 8 KiB."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}

_log = logging.getLogger("ares_otel.grpc")

_Context = grpc.aio.ServicerContext[bytes, bytes]


class AskedMethods:
    """Makes handlers for methods. All of them share the memory for requests on their way in."""

    def __init__(self, admission: Admission, message_bytes: int, calls: Calls) -> None:
        """
        Args:
            message_bytes: the largest message that the server reads.
            calls: where calls in work are noted; when it is cut, they are answered UNAVAILABLE.
        """
        self._admission = admission
        self._reading = Reading(admission, message_bytes)
        self._calls = calls
        self._errors = ErrorLog(_log, SYSTEM_CLOCK, told="; the caller was told so")

    def handlers(self, methods: Iterable[RpcMethod]) -> Methods:
        """What a `GrpcDoor` serves."""
        found: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for method in methods:
            found.setdefault(method.service, {})[method.name] = self._handler(method)
        return found

    def _handler(self, method: RpcMethod) -> grpc.RpcMethodHandler[Any, Any]:
        """Registered with a stream of requests (ADR 010)."""

        async def unary(_: object, context: _Context) -> bytes:
            answer = await self._answered(self._one(method, context), context)
            return cast(bytes, answer)

        async def stream(_: object, context: _Context) -> None:
            await self._answered(self._stream(method, context), context)

        if method.one is not None:
            return grpc.stream_unary_rpc_method_handler(unary)
        return grpc.stream_stream_rpc_method_handler(stream)  # it writes, and does not yield

    async def _answered(self, work: Any, context: _Context) -> bytes | None:
        """Awaits the work, and makes an end of the call of whatever goes wrong."""
        try:
            with self._calls.one():
                return cast("bytes | None", await work)
        except RpcFailure as error:
            failure = error
        except Rejected as error:
            failure = RpcFailure(INVALID_ARGUMENT, error.message)
        except Retryable as error:
            failure = RpcFailure(UNAVAILABLE, error.message)
        except SenderGone:
            failure = RpcFailure(INVALID_ARGUMENT, "The call was given up.")
        except asyncio.CancelledError:
            if not self._calls.over:
                raise
            failure = RpcFailure(UNAVAILABLE, "The server is shutting down; ask again.")
        except Exception as error:
            self._errors.unexpected(error, "A call over gRPC")
            failure = RpcFailure(INTERNAL, "The call could not be answered; Ares's log has the reason.")
        await context.abort(_CODES[failure.code], failure.message.encode()[:_MESSAGE_BYTES].decode(errors="ignore"))
        raise AssertionError("unreachable: abort raises")

    async def _one(self, method: RpcMethod, context: _Context) -> bytes:
        assert method.one is not None
        answer = await method.one(await self._request(method, context))
        return answer.SerializeToString()

    async def _stream(self, method: RpcMethod, context: _Context) -> None:
        assert method.stream is not None
        request = await self._request(method, context)
        async with aclosing(method.stream(request)) as answers:
            async for answer in answers:
                try:
                    async with asyncio.timeout(STALL_SECONDS):
                        await context.write(answer.SerializeToString())
                except TimeoutError:
                    raise RpcFailure(
                        RESOURCE_EXHAUSTED, "The answer was not taken in time; ask again, or for less."
                    ) from None

    async def _request(self, method: RpcMethod, context: _Context) -> Message:
        with self._admission.reservation() as reservation:
            message: bytes = await self._reading.read(reservation, lambda: only_message(context))
            if encoding_of(message):
                message = _inflated(message)
            if len(message) > REQUEST_BYTES:
                raise RpcFailure(INVALID_ARGUMENT, f"The request has more than {REQUEST_BYTES} bytes; ask for less.")
            try:
                return method.request.FromString(message)
            except DecodeError:
                raise RpcFailure(
                    INVALID_ARGUMENT, f"The request is not a {method.request.DESCRIPTOR.full_name}, or nested too deep."
                ) from None


def _inflated(message: bytes) -> bytes:
    """At most a byte more than a request may have."""
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    try:
        return stream.decompress(message, REQUEST_BYTES + 1)
    except zlib.error:
        raise RpcFailure(INVALID_ARGUMENT, "The request is not compressed as it says.") from None
