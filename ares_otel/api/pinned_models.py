"""The shapes of what is said about pinned traces, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ares_otel.api.models import Next, Time, TraceId
from ares_otel.query.pinned import MAX_NAME


class PinBody(BaseModel):
    """Who pins a trace."""

    model_config = ConfigDict(extra="forbid")
    pinned_by: Annotated[
        str | None, Field(min_length=1, max_length=MAX_NAME, description="Who pins it: kept, and shown in the list")
    ] = None


class PinnedTrace(BaseModel):
    """A row of `pinned_traces`."""

    trace_id: TraceId
    pinned_at: Time
    pinned_by: Annotated[str | None, Field(description="As they said; null when they did not")]
    first_time: Annotated[Time, Field(description="The earliest time that a copied span or log record is filed under")]
    last_time: Annotated[Time, Field(description="The latest such time")]
    spans: Annotated[int, Field(description="Copied spans; late ones are copied when their partition leaves")]
    logs: Annotated[int, Field(description="Copied log records; late ones are copied when their partition leaves")]
    bytes: Annotated[int, Field(description="Of the copied rows")]
    left_out: Annotated[int, Field(description="Rows that were not copied, because the trace is too large")]
    tenant_id: int


class PinnedPage(BaseModel):
    """Pinned traces, the latest pin first."""

    pinned: list[PinnedTrace]
    next: Next


PINNED: dict[str, Any] = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "pinned_at": "2026-01-31T12:00:00.250000Z",
    "pinned_by": "alice",
    "first_time": "2026-01-31T11:58:03.100000Z",
    "last_time": "2026-01-31T11:58:04.750000Z",
    "spans": 42,
    "logs": 7,
    "bytes": 38912,
    "left_out": 0,
    "tenant_id": 0,
}
PAGE: dict[str, Any] = {"pinned": [PINNED], "next": None}
BODY: dict[str, Any] = {"pinned_by": "alice"}
"""Examples; a test validates them against the models."""
