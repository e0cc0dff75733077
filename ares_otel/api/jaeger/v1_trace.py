"""OTLP as Jaeger's JSON of version 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


def trace_to_v1(data: Iterable[TracesData], warnings: Iterable[str] = ()) -> dict[str, Any]:
    """One trace as Jaeger shows it: `traceID`, `spans`, `processes`, `warnings`.

    Args:
        data: its chunks, in order.
        warnings: of the trace as a whole.
    """
    raise NotImplementedError
