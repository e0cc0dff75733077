"""The shape of the answer about partitions, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ares_otel.api.models import Time

Reason = Literal["age", "bytes", "disk", "command"]


class PartitionModel(BaseModel):
    """One partition of a telemetry table."""

    partition_name: str
    table_name: Literal["service_spans", "service_logs", "metric_samples", "metric_distributions", "metric_packs"]
    signal: Literal["traces", "logs", "metrics"]
    range_start: Time
    range_end: Annotated[Time, Field(description="Exclusive")]
    state: Annotated[
        Literal["ahead", "open", "closed", "sealed", "leaving", "detached"],
        Field(
            description="ahead: its time is to come; open: takes the rows of now; closed: its time is over; sealed: "
            "has its search indexes; leaving: about to be dropped; detached: dropped as soon as nobody reads it"
        ),
    ]
    bytes: Annotated[int, Field(description="On disk, with indexes")]
    rows_estimate: Annotated[int | None, Field(description="What the server last counted; null before it did")]
    due_at: Annotated[Time | None, Field(description="When its age makes it leave; null for never")]
    leaving_reason: Reason | None
    sealed_at: Time | None
    archived_at: Time | None
    archived_to: Annotated[str | None, Field(description="Path of its archive, on the machine that wrote it")]
    archived_rows: int | None
    failures: Annotated[int, Field(description="Failed attempts to seal or drop it since the last success")]
    last_error: str | None


class NextActionModel(BaseModel):
    """What a job is going to do."""

    action: Literal["make", "seal", "drop", "archive and drop"]
    partition_name: str
    at: Annotated[Time, Field(description="The current time for what can be done already")]
    reason: Reason | None


class PartitionList(BaseModel):
    """All partitions, by table and time."""

    partitions: list[PartitionModel]
    next: Annotated[list[NextActionModel], Field(description="For each action what comes next, soonest first")]
    bytes: Annotated[int, Field(description="Of all partitions")]


EXAMPLE: dict[str, Any] = {
    "partitions": [
        {
            "partition_name": "service_spans_20260101",
            "table_name": "service_spans",
            "signal": "traces",
            "range_start": "2026-01-01T00:00:00.000000Z",
            "range_end": "2026-01-02T00:00:00.000000Z",
            "state": "sealed",
            "bytes": 734003200,
            "rows_estimate": 1800000,
            "due_at": "2026-02-01T00:00:00.000000Z",
            "leaving_reason": None,
            "sealed_at": "2026-01-02T01:00:41.551200Z",
            "archived_at": None,
            "archived_to": None,
            "archived_rows": None,
            "failures": 0,
            "last_error": None,
        }
    ],
    "next": [
        {
            "action": "drop",
            "partition_name": "service_spans_20260101",
            "at": "2026-02-01T00:00:00.000000Z",
            "reason": "age",
        }
    ],
    "bytes": 734003200,
}
"""An answer; a test validates it against the model."""
