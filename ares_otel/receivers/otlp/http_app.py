"""OTLP/HTTP as an ASGI app: one path for all signals, protobuf and JSON.

Source: OTLP specification 1.x, "OTLP/HTTP". The host, the origin and the time of a body are checked by the door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from ares_otel.model.errors import Overloaded, TooLarge
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.pipeline.admission import STALLED, Reservation
from ares_otel.pipeline.grpc_message import SenderGone
from ares_otel.pipeline.http_protocol import ErrorBody
from ares_otel.receivers.otlp.config import HttpConfig
from ares_otel.receivers.otlp.cors import Cors, Headers
from ares_otel.receivers.otlp.inflate import ENCODINGS, inflate
from ares_otel.receivers.otlp.intake import Intake
from ares_otel.receivers.otlp.response import response_body
from ares_otel.receivers.otlp.status import JSON, PROTOBUF, Failure, http_failure

TRANSPORT = "http"


class OtlpHttpApp:
    """The app. Every answer that is not 2xx carries a `google.rpc.Status` in the encoding of the request, protobuf
    when that is unknown."""

    def __init__(self, config: HttpConfig, intake: Intake) -> None:
        paths: Mapping[Signal, str] = {
            TRACES: config.traces_url_path,
            METRICS: config.metrics_url_path,
            LOGS: config.logs_url_path,
        }
        self._signals = {paths[signal].encode("ascii"): signal for signal in intake.signals}
        self._limit = config.max_request_body_size
        self._intake = intake
        self.cors = Cors(config.cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"OTLP/HTTP does not serve {scope['type']}")
        cors = self.cors.headers(_header(scope, b"origin")) if self.cors.enabled else []
        signal = self._signals.get(scope["raw_path"])
        if signal is None:
            await self._refuse(scope, send, None, http_failure(404, "There is nothing at this path."), cors)
        elif scope["method"] == "OPTIONS" and self._is_preflight(scope):
            await self._preflight(scope, send)
        elif scope["method"] != "POST":
            failure = http_failure(405, "Send telemetry with POST.")
            await self._refuse(scope, send, signal, failure, [*cors, (b"allow", b"POST")])
        else:
            await self._export(scope, receive, send, signal, cors)

    def error_body(self, scope: Scope | None, status: int, message: str) -> ErrorBody:
        """Body of an error that the door answers; also counts it."""
        failure = http_failure(status, message)
        self._intake.refused(None, TRANSPORT, failure.reason)
        content_type = _answer_type(scope)
        headers = _retry_after(failure)
        return ErrorBody(content_type, failure.body(content_type), headers)

    async def _export(self, scope: Scope, receive: Receive, send: Send, signal: Signal, cors: Headers) -> None:
        content_type = _content_type(scope)
        if content_type not in (PROTOBUF, JSON):
            failure = http_failure(415, f"Content-Type must be {PROTOBUF} or {JSON}.")
            await self._refuse(scope, send, signal, failure, cors)
            return
        encoding = self._encoding(scope)
        if isinstance(encoding, Failure):
            await self._refuse(scope, send, signal, encoding, cors)
            return

        async def read(reservation: Reservation) -> bytes:
            body = await self._read(scope, receive, reservation)
            if not encoding:
                return body
            return await inflate(body, encoding, self._limit, reservation, self._intake.workers)

        try:
            answer = await self._intake.take(signal, TRANSPORT, read, json=content_type == JSON)
        except SenderGone:
            return
        if isinstance(answer, Failure):
            headers = [*cors, *_retry_after(answer)]
            await _send(send, answer.http_status, content_type, answer.body(content_type), headers)
        else:
            await _send(send, 200, content_type, response_body(signal, answer, content_type), cors)

    async def _read(self, scope: Scope, receive: Receive, reservation: Reservation) -> bytes:
        """The body as it was sent, at most as large as allowed, whatever Content-Length says.

        A body that is announced larger than what is free is refused before it is read. Then memory is reserved ahead of
        what arrives, but never more than as much again: a sender that announces megabytes and then sends a byte a
        second must not keep others out.

        Raises:
            TooLarge: more than `max_request_body_size`.
            Overloaded: the memory budget is used up, or the body came too slowly while it was.
            SenderGone: the sender left in the middle.
        """
        announced = int(_header(scope, b"content-length") or 0)
        if announced > self._limit:
            raise TooLarge(self._too_large())
        reservation.expect(announced)
        loop = asyncio.get_running_loop()
        patience = asyncio.timeout(None)
        try:
            async with patience:
                reservation.arriving(lambda: patience.reschedule(loop.time()))
                body = await self._parts(announced, receive, reservation)
        except TimeoutError:
            raise Overloaded(STALLED) from None
        reservation.arrived()
        return body

    async def _parts(self, announced: int, receive: Receive, reservation: Reservation) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise SenderGone
            part = message.get("body", b"")
            body += part
            size = len(body)
            if size > self._limit:
                raise TooLarge(self._too_large())
            reservation.progress(len(part))
            if size > reservation.held_bytes:
                ahead = min(max(announced, size), 2 * size)
                reservation.grow(ahead - reservation.held_bytes)
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> str:
        return f"The body is larger than {self._limit} bytes (max_request_body_size); send smaller batches."

    def _encoding(self, scope: Scope) -> str | Failure:
        """The one content encoding of the body, empty for none."""
        values = [value for name, value in scope["headers"] if name == b"content-encoding"]
        names = [token.strip().lower() for token in b",".join(values).decode("latin-1").split(",")]
        names = [name for name in names if name not in ("", "identity", "none")]
        for name in names:
            if name not in ENCODINGS:
                known = ", ".join(sorted(ENCODINGS))
                return http_failure(415, f"Content-Encoding must be one of {known}, or identity.")
        if len(names) > 1:
            return http_failure(400, "The body must not be encoded more than once.")
        return names[0] if names else ""

    def _is_preflight(self, scope: Scope) -> bool:
        return self.cors.enabled and _header(scope, b"access-control-request-method") is not None

    async def _preflight(self, scope: Scope, send: Send) -> None:
        asked = _header(scope, b"access-control-request-headers") or ""
        headers = self.cors.preflight(_header(scope, b"origin") or "", asked)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(
        self, scope: Scope, send: Send, signal: Signal | None, failure: Failure, headers: Headers
    ) -> None:
        self._intake.refused(signal, TRANSPORT, failure.reason)
        content_type = _answer_type(scope)
        headers = [*headers, *_retry_after(failure)]
        await _send(send, failure.http_status, content_type, failure.body(content_type), headers)


async def _send(send: Send, status: int, content_type: str, body: bytes, headers: Headers) -> None:
    start: Headers = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def _content_type(scope: Scope) -> str:
    """Media type without parameters, in lower case; empty when there is none, or more than one header."""
    values = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(values) != 1:
        return ""
    return str(values[0].decode("latin-1")).partition(";")[0].strip().lower()


def _answer_type(scope: Scope | None) -> str:
    return JSON if scope is not None and _content_type(scope) == JSON else PROTOBUF


def _retry_after(failure: Failure) -> Headers:
    value = failure.retry_after_header
    return [] if value is None else [(b"retry-after", value)]
