"""One attempt to send a request, by gRPC or HTTP, and what its answer means for the sender."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from ares_otel.model.signal import Signal
from tests.faults.support.items import Request
from tests.faults.support.oracle import State

PROTOBUF = "application/x-protobuf"
_LOST = {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
_CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt came to."""

    state: State
    """UNKNOWN: send the same bytes again."""
    rejected: int = 0
    reason: str = ""
    """Of the partial success, or of the error."""
    said_later: bool = False
    """The receiver itself said "try again later", with a delay; else the connection was lost."""
    complaint: str = ""
    """What is wrong with the answer, a sentence; empty when nothing is."""


class GrpcDoor:
    """OTLP/gRPC at `HOST:PORT`, over one channel. Used by one thread."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=_CHANNEL)

    def send(self, request: Request, timeout: float) -> Answer:
        """One attempt; waits at most `timeout` seconds for the answer."""
        call = self._channel.unary_unary(f"/{request.signal.service}/Export", None, None)
        try:
            return _accepted(request.signal, call(request.body, timeout=timeout))
        except grpc.RpcError as error:
            return _grpc_failure(error)

    def close(self) -> None:
        self._channel.close()


class HttpDoor:
    """OTLP/HTTP at `HOST:PORT`, over one connection that is kept. Used by one thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def send(self, request: Request, timeout: float) -> Answer:
        """One attempt; waits at most `timeout` seconds for each piece of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=timeout)
        try:
            self._connection.request("POST", request.signal.http_path, request.body, {"content-type": PROTOBUF})
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(State.UNKNOWN, reason=repr(error))
        if response.status == 200:
            return _accepted(request.signal, body)
        reason = f"HTTP {response.status}"
        if response.status == 400:
            return Answer(State.REFUSED, reason=reason)
        delay = response.getheader("retry-after", "")
        if response.status in (429, 503):
            ok = delay.isdigit() and int(delay) >= 1
            return Answer(State.UNKNOWN, reason=reason, said_later=True, complaint="" if ok else f"{reason}: no delay")
        return Answer(State.UNKNOWN, reason=reason, complaint=f"{reason}: {body[:200]!r}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


Door = GrpcDoor | HttpDoor


def _accepted(signal: Signal, body: bytes) -> Answer:
    response: Any = signal.response.FromString(body)
    partial = response.partial_success
    return Answer(State.ACKNOWLEDGED, getattr(partial, signal.rejected_field), partial.error_message)


def _grpc_failure(error: Any) -> Answer:
    code, text = error.code(), f"{error.code().name}: {error.details()}"
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Answer(State.REFUSED, reason=text)
    if details is not None:  # the receiver itself answered
        status = Status.FromString(details)
        later = any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)
        complaint = "" if later and code is grpc.StatusCode.UNAVAILABLE else f"no retryable answer: {text}"
        return Answer(State.UNKNOWN, reason=text, said_later=True, complaint=complaint)
    lost = code is grpc.StatusCode.UNAVAILABLE or code in _LOST or "tream" in text  # RST_STREAM, Stream removed
    return Answer(State.UNKNOWN, reason=text, complaint="" if lost else text)
