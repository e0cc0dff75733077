"""One attempt to send a request, by gRPC or HTTP, and what its answer means for the sender."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from ares_otel.model.signal import Signal
from tests.faults.support.items import Request
from tests.faults.support.oracle import State
from tests.support.remote_write import PATH, V2, VERSIONS, Told, packed, request_v2

PROTOBUF = "application/x-protobuf"
_WRITE_HEADERS = {
    "content-type": V2,
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": VERSIONS[V2],
}
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


class WriteDoor:
    """Remote write 2.0 at `HOST:PORT` of the HTTP API, over one connection that is kept. It takes metrics: each item is
    a series of its own, whose labels are the item's attributes. Used by one thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def send(self, request: Request, timeout: float) -> Answer:
        """One attempt; waits at most `timeout` seconds for each piece of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=timeout)
        try:
            self._connection.request("POST", PATH, as_remote_write(request.body), _WRITE_HEADERS)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(State.UNKNOWN, reason=repr(error))
        reason = f"HTTP {response.status}"
        written = int(response.getheader("x-prometheus-remote-write-samples-written", "-1"))
        if response.status == 204:
            short = written != len(request.items)
            complaint = f"{written} of {len(request.items)} samples are said to be written" if short else ""
            return Answer(State.ACKNOWLEDGED, complaint=complaint)
        if response.status == 400:
            return Answer(State.REFUSED, reason=reason, complaint=f"{reason}: {body[:200]!r}")
        delay = response.getheader("retry-after", "")
        ok = response.status == 503 and delay.isdigit() and written == 0
        complaint = "" if ok else f"{reason}, delay {delay!r}, {written} written: {body[:200]!r}"
        return Answer(State.UNKNOWN, reason=reason, said_later=True, complaint=complaint)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def as_remote_write(body: bytes) -> bytes:
    """The gauges of an OTLP request as a remote write body; the same for the same request."""
    told = [
        Told(
            {
                "__name__": metric.name,
                "job": resource.resource.attributes[0].value.string_value,
                **{pair.key: pair.value.string_value or str(pair.value.int_value) for pair in point.attributes},
            },
            [(point.time_unix_nano // 10**6, float(point.as_int))],
        )
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for metric in resource.scope_metrics[0].metrics
        for point in metric.gauge.data_points
    ]
    return packed(request_v2(told))


Door = GrpcDoor | HttpDoor | WriteDoor


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
