"""The answers' shapes, for the OpenAPI document. Answers are written by `rendering`; a test holds the two together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Number = float | Literal["NaN", "Infinity", "-Infinity"]
Nanoseconds = Annotated[int, Field(ge=0, le=999)]
Attributes = dict[str, Any]
Next = Annotated[str | None, Field(description="Cursor of the next page; null at the end")]
Truncated = Annotated[bool, Field(description="Whether there was more than one answer may hold")]


class Log(BaseModel):
    """A row of `service_logs`."""

    id: int
    timestamp: Time
    timestamp_ns: Nanoseconds
    service_name: str
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"]
    severity_number: int
    severity_text: str | None
    message: str | None
    body: Any
    metadata: Attributes
    trace_id: TraceId | None
    span_id: SpanId | None
    parent_span_id: SpanId | None
    observed_timestamp: Time | None
    observed_ns: Nanoseconds | None
    source_file: str | None
    source_line: int | None
    event_name: str | None
    flags: int
    dropped_attributes_count: int | None
    resource_id: Hash | None
    scope_id: Hash | None
    received_at: Time
    original_time_unix_nano: str | None
    tenant_id: int


class LogPage(BaseModel):
    """Log records, newest first."""

    logs: list[Log]
    next: Next


class Metric(BaseModel):
    """A row of `service_metrics`."""

    id: int
    timestamp: Time
    service_name: str
    metric_name: str
    metric_type: str
    metric_value: Number | None
    labels: Attributes
    unit: str
    temporality: Literal["delta", "cumulative"] | None
    count: int | None
    sum: Number | None
    min: Number | None
    max: Number | None
    tenant_id: int
    series_id: Hash


class MetricPage(BaseModel):
    """Metric data points, newest first."""

    metrics: list[Metric]
    next: Next


class ServiceHealth(BaseModel):
    """A row of `v_system_health`."""

    service_name: str
    status: Literal["online", "degraded", "offline"]
    version: str
    last_heartbeat: Time
    seconds_since_heartbeat: float
    active_traces: int
    error_count_1h: int


class Health(BaseModel):
    """Registered services, by name."""

    services: list[ServiceHealth]
    truncated: Truncated


class Operation(BaseModel):
    """A row of `v_service_performance`."""

    service_name: str
    operation_name: str
    call_count: int
    avg_duration_ms: Number
    p50_ms: Number
    p95_ms: Number
    p99_ms: Number
    error_count: int


class Performance(BaseModel):
    """Operations of the last hour, by service, most calls first."""

    operations: list[Operation]
    truncated: Truncated


class Span(BaseModel):
    """A row of `service_spans`, with its place in the tree."""

    trace_id: TraceId
    span_id: SpanId
    parent_span_id: SpanId | None
    depth: Annotated[int, Field(ge=0, description="0 for a root")]
    service_name: str
    operation_name: str
    kind: str
    start_time: Time
    start_ns: Nanoseconds
    duration_ms: Number
    duration_ns: int
    self_time_ms: Annotated[float, Field(ge=0, description="Duration without the time in which a child ran")]
    status: Literal["unset", "ok", "error"]
    status_message: str | None
    status_code: int | None
    attributes: Attributes
    events: list[dict[str, Any]]
    links: list[dict[str, Any]]
    trace_state: str | None
    flags: int
    dropped_attributes_count: int | None
    dropped_events_count: int | None
    dropped_links_count: int | None
    resource_id: Hash | None
    scope_id: Hash | None
    received_at: Time
    original_time_unix_nano: str | None
    original_end_unix_nano: str | None
    tenant_id: int


class Trace(BaseModel):
    """A trace: spans in tree order, its logs oldest first, and what they say together."""

    trace_id: TraceId
    duration_ms: Annotated[float, Field(description="First start to last end of the spans, 0 without spans")]
    error_count: Annotated[int, Field(description="Spans with status error")]
    services: list[str]
    truncated: Truncated
    warnings: Annotated[list[str], Field(description="What is odd about the tree: orphans, cycles, twins")]
    spans: list[Span]
    logs: list[Log]
    resources: Annotated[dict[str, Attributes], Field(description="Resource attributes by resource_id")]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """Everything that is needed is there."""

    status: Literal["ready"]


class FieldProblem(BaseModel):
    """One wrong parameter."""

    field: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: Annotated[list[FieldProblem], Field(description="The wrong parameters; empty when input is not the cause")]
