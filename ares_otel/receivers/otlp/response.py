"""The answer to a request that was taken, in full or in part.

Source: OTLP specification 1.x, "Full Success" and "Partial Success".
"""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf import json_format

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import Signal
from ares_otel.receivers.serving.status import JSON, capped


def response_body(signal: Signal, accepted: Accepted, content_type: str) -> bytes:
    """An `Export<Signal>ServiceResponse`. `partial_success` is unset on full success, as the specification demands;
    with nothing rejected but a reason it is a warning."""
    response: Any = signal.response()
    if accepted.rejected or accepted.reason:
        setattr(response.partial_success, signal.rejected_field, accepted.rejected)
        response.partial_success.error_message = capped(
            accepted.reason or "Some items are invalid and were not stored."
        )
    if content_type == JSON:
        return orjson.dumps(json_format.MessageToDict(response))
    return response.SerializeToString()  # type: ignore[no-any-return]
