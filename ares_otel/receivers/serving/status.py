"""The one place where an error becomes a protocol code, for HTTP and for gRPC.

Sources: OTLP specification 1.x, "OTLP/gRPC Response" (failures, throttling) and "OTLP/HTTP Response" (failures, bad
data, throttling); google/rpc/status.proto, code.proto, error_details.proto.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import grpc
import orjson
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from ares_otel.model.errors import FieldViolation, Overloaded, Rejected, Retryable, TooLarge

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_MESSAGE_BYTES = 1000
_VIOLATIONS = 5
_VIOLATION_FIELD_BYTES = 100
_VIOLATION_TEXT_BYTES = 200
# A status travels in gRPC trailers, which clients limit to 8 KiB: the message there percent-encoded (three bytes for
# one) and once more, with the details, in base64. These limits keep the worst case at about 7 KiB.


@dataclass(frozen=True, slots=True)
class Failure:
    """How one error is answered."""

    http_status: int
    grpc_code: grpc.StatusCode
    reason: str
    """Label of `ares_otel_receiver_refused_requests`: one of a few fixed words."""
    message: str
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    """Seconds; given exactly when the sender should send the same data again."""

    @property
    def retry_after_header(self) -> bytes | None:
        """Value of the HTTP header, whole seconds and at least 1."""
        return None if self.retry_after is None else b"%d" % max(1, math.ceil(self.retry_after))

    def status(self) -> Any:
        """The answer as `google.rpc.Status`: `RetryInfo` when a retry helps, `BadRequest` when the data is wrong."""
        status = Status(code=self.grpc_code.value[0], message=capped(self.message))
        if self.retry_after is not None:
            delay = Duration()
            delay.FromNanoseconds(int(max(0.0, self.retry_after) * 1e9))
            status.details.add().Pack(RetryInfo(retry_delay=delay))
        if self.violations:
            shown = [
                BadRequest.FieldViolation(
                    field=capped(violation.field, _VIOLATION_FIELD_BYTES),
                    description=capped(violation.description, _VIOLATION_TEXT_BYTES),
                )
                for violation in self.violations[:_VIOLATIONS]
            ]
            status.details.add().Pack(BadRequest(field_violations=shown))
        return status

    def body(self, content_type: str) -> bytes:
        """The status as an HTTP body: JSON when the request was JSON, else protobuf."""
        if content_type == JSON:
            return orjson.dumps(json_format.MessageToDict(self.status()))
        return self.status().SerializeToString()  # type: ignore[no-any-return]


def failure_of(error: BaseException) -> Failure:
    """The answer to an error of the pipeline or of decoding.

    Whatever is not known to be permanent is retryable: a sender that is told "never again" drops the data.
    """
    if isinstance(error, TooLarge):
        return Failure(413, grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large", error.message)
    if isinstance(error, Rejected):
        violations = error.violations or (FieldViolation("body", error.message),)
        return Failure(400, grpc.StatusCode.INVALID_ARGUMENT, "invalid", error.message, violations)
    if isinstance(error, Retryable):
        reason = "overloaded" if isinstance(error, Overloaded) else "unavailable"
        return Failure(503, grpc.StatusCode.UNAVAILABLE, reason, error.message, retry_after=error.retry_after)
    return Failure(
        503, grpc.StatusCode.UNAVAILABLE, "unexpected", "An unexpected error occurred; send again.", retry_after=1.0
    )


_HTTP_ONLY = {
    400: (grpc.StatusCode.INVALID_ARGUMENT, "invalid"),
    403: (grpc.StatusCode.PERMISSION_DENIED, "origin"),
    404: (grpc.StatusCode.NOT_FOUND, "path"),
    405: (grpc.StatusCode.UNIMPLEMENTED, "method"),
    408: (grpc.StatusCode.DEADLINE_EXCEEDED, "timeout"),
    413: (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large"),
    415: (grpc.StatusCode.INVALID_ARGUMENT, "media_type"),
    421: (grpc.StatusCode.PERMISSION_DENIED, "host"),
    431: (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large"),
    503: (grpc.StatusCode.UNAVAILABLE, "unavailable"),
}


def http_failure(http_status: int, message: str) -> Failure:
    """The answer to what is wrong with a request before anything is decoded."""
    code, reason = _HTTP_ONLY[http_status]
    violations = (FieldViolation("request", message),) if http_status == 400 else ()
    return Failure(http_status, code, reason, message, violations, 1.0 if http_status == 503 else None)


def capped(text: str, limit: int = _MESSAGE_BYTES) -> str:
    """The text in at most `limit` bytes of UTF-8 (so in at most `limit` characters), marked when it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    return encoded[: limit - 3].decode("utf-8", "ignore") + "..."
