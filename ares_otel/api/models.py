"""The answers' shapes, for the OpenAPI document. Answers are written by `rendering`; a test holds the two together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Number = float | Literal["NaN", "Infinity", "-Infinity"]
Nanoseconds = Annotated[int, Field(ge=0, le=999)]
Attributes = dict[str, Any]
Next = Annotated[str | None, Field(description="Cursor of the next page; null at the end")]
Since = Annotated[Time, Field(description="What is counted begins here: a whole minute, but for `exact=true`")]
FromView = Annotated[bool, Field(description="Whether all rows were read (`exact=true`), and not roll-ups")]
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
    since: Since
    exact: FromView
    truncated: Truncated


class ServiceSigns(BaseModel):
    """By which signs a service is known to live now."""

    registered: Annotated[bool, Field(description="It registered itself")]
    heartbeats: Annotated[bool, Field(description="It sent a heartbeat within three intervals")]
    telemetry: Annotated[
        bool, Field(description="It sent telemetry within three intervals, or five minutes when that is longer")
    ]
    probe_ok: Annotated[bool | None, Field(description="Its last health check was answered well; null without one")]
    summary: Annotated[str, Field(description="The same in words")]


class RegisteredService(BaseModel):
    """A row of `service_registry`, with what `v_service_signs` says about it."""

    id: int
    tenant_id: int
    name: str
    instance_id: str
    version: str
    status: Literal["online", "degraded", "offline"]
    status_since: Time
    status_reason: str
    port: int | None
    health_url: str | None
    metadata: Attributes
    registered_at: Time
    registered: bool
    last_heartbeat: Time
    last_registration: Time | None
    last_registration_heartbeat: Time | None
    reported_status: Literal["online", "degraded"] | None
    last_telemetry: Time | None
    last_probe: Time | None
    last_probe_ok: bool | None
    last_probe_error: str | None
    probe_latency_ms: float | None
    next_probe_at: Time | None
    signs: ServiceSigns


class Registered(RegisteredService):
    """The same, as a service gets it that registers or sends a heartbeat."""

    heartbeat_interval: Annotated[float, Field(description="Seconds after which its next heartbeat is expected")]


class RegistryPage(BaseModel):
    """Services, in the order in which they were first heard of."""

    services: list[RegisteredService]
    next: Next


class RegistrationBody(BaseModel):
    """What a service says of itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=255, description="As service.name in its telemetry")]
    version: Annotated[str | None, Field(max_length=255, description="As service.version in its telemetry")] = None
    instance_id: Annotated[
        str | None,
        Field(max_length=255, description="As service.instance.id in its telemetry; not needed for an only instance"),
    ] = None
    port: Annotated[int | None, Field(ge=1, le=65535, description="TCP port that it listens on")] = None
    health_url: Annotated[
        str | None, Field(max_length=2000, description="http or https URL that answers 2xx while it is well")
    ] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Anything else, merged into what is known: 16 KiB of JSON in all")
    ] = None


class HeartbeatBody(BaseModel):
    """How a service is. All of it may be left out, and so may the body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    status: Annotated[
        Literal["online", "degraded"] | None,
        Field(description="How it is, online when not given; a service that leaves uses DELETE"),
    ] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="Merged into what is known, key by key")] = None


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
    since: Since
    exact: FromView
    truncated: Truncated


class FoundSpan(BaseModel):
    """A row of `service_spans`."""

    trace_id: TraceId
    span_id: SpanId
    parent_span_id: SpanId | None
    service_name: str
    operation_name: str
    kind: str
    start_time: Time
    start_ns: Nanoseconds
    duration_ms: Number
    duration_ns: int
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


class Span(FoundSpan):
    """A row of `service_spans`, with its place in the tree."""

    depth: Annotated[int, Field(ge=0, description="0 for a root")]
    self_time_ms: Annotated[float, Field(ge=0, description="Duration without the time in which a child ran")]


class SpanPage(BaseModel):
    """Spans, newest first."""

    spans: list[FoundSpan]
    next: Next
    truncated: Annotated[
        bool, Field(description="Whether the time was over before everything was looked at; `next` goes on there")
    ]


class Trace(BaseModel):
    """A trace: spans in tree order, its logs oldest first, and what they say together."""

    trace_id: TraceId
    duration_ms: Annotated[float, Field(description="First start to last end of the spans, 0 without spans")]
    error_count: Annotated[int, Field(description="Spans with status error")]
    services: list[str]
    truncated: Truncated
    searched_from: Annotated[
        Time | None, Field(description="What is older was not looked at; null where everything was")
    ]
    warnings: Annotated[list[str], Field(description="What is odd about the tree: orphans, cycles, twins")]
    spans: list[Span]
    logs: list[Log]
    resources: Annotated[dict[str, Attributes], Field(description="Resource attributes by resource_id")]


class Rejected(BaseModel):
    """A row of `ingest_rejected`, without its payload."""

    id: int
    rejected_at: Time
    received_at: Time
    signal: Literal["traces", "logs", "metrics"]
    service_name: str
    items: Annotated[int, Field(description="Spans, log records or data points in the payload")]
    reason: Annotated[str, Field(description="What the database said")]
    sqlstate: Annotated[str | None, Field(description="Its error code; null when the refusal was not the database's")]
    told: Annotated[bool, Field(description="Whether the sender was told, by partial success")]
    key: Annotated[Hash, Field(description="Key of the request that the items came with")]
    tenant_id: int


class RejectedPage(BaseModel):
    """What the database refused to store, newest first."""

    rejected: list[Rejected]
    next: Next


class RejectedItem(Rejected):
    """A row of `ingest_rejected` with its payload."""

    payload: Annotated[str, Field(description="The items as an OTLP export request: protobuf in base64")]
    otlp: Annotated[
        dict[str, Any] | None, Field(description="The same as OTLP JSON; null when the payload cannot be decoded")
    ]


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
