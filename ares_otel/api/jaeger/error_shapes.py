"""The bodies of errors by the path that was asked: v1 and v3 each have a shape of their own."""

from __future__ import annotations

from ares_otel.api.jaeger import v1_envelope
from ares_otel.api.jaeger.failures import error_body
from ares_otel.model.rpc import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNIMPLEMENTED,
)

MOUNTED = "/jaeger"
"""Where Jaeger's APIs are in the API's address space; on a port of their own they are at the root."""
CODES = {
    400: INVALID_ARGUMENT,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    405: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED,
    414: RESOURCE_EXHAUSTED,
    421: PERMISSION_DENIED,
    431: RESOURCE_EXHAUSTED,
    500: INTERNAL,
    503: UNAVAILABLE,
}
"""HTTP status of what is refused before v3 itself is asked → gRPC's code."""


def jaeger_error_body(path: str, status: int, message: str, root: str) -> bytes | None:
    """The body of an error, JSON; None for a path that is not Jaeger's. `root`: where Jaeger's APIs are."""
    if not path.startswith(f"{root}/"):
        return None
    if path.startswith(f"{root}/api/v3/"):
        return error_body(CODES.get(status, INVALID_ARGUMENT), status, message)
    return v1_envelope.error_body(status, message)
