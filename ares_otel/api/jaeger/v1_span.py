"""A span of OTLP as a span of Jaeger's JSON of version 1.

Source of the mapping: OpenTelemetry specification, "OpenTelemetry to Jaeger Transformation" and "Mapping to non-OTLP
formats"; where they leave something open, what Jaeger's own query service answers.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.api.jaeger.v1_tags import Tag, any_text, tag, tags
from ares_otel.api.jaeger.warnings import WARNINGS, warnings_of

UNKNOWN_SERVICE = "unknown_service"
_MAX_SERVICE = 255
_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUS = {Status.STATUS_CODE_OK: "OK", Status.STATUS_CODE_ERROR: "ERROR"}
_REF_TYPE = "opentracing.ref_type"
_DROPPED = ("otel.dropped_attributes_count", "otel.dropped_events_count", "otel.dropped_links_count")
_NO_ID = (b"", bytes(8), bytes(16))


def trace_id_v1(trace_id: bytes) -> str:
    """Hex as Jaeger's v1 API shows it: 16 digits where the upper 64 bits are zero, else 32."""
    return (trace_id[8:] if len(trace_id) == 16 and not any(trace_id[:8]) else trace_id).hex()


def span_to_v1(span: Span, process: str, scope_tags: list[Tag]) -> dict[str, Any]:
    """The span, whose process has this id and whose scope these tags. Times are microseconds, rounded down."""
    trace_id = trace_id_v1(span.trace_id)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return {
        "traceID": trace_id,
        "spanID": span.span_id.hex(),
        "flags": span.flags & 0xFF,
        "operationName": span.name,
        "references": _references(span, trace_id),
        "startTime": start // 1000,
        "duration": max(end - start, 0) // 1000,
        "tags": _span_tags(span, scope_tags),
        "logs": [_log(event) for event in span.events],
        "processID": process,
        "warnings": warnings_of(span) or None,
    }


def process_to_v1(resource: Resource) -> dict[str, Any]:
    """The process that a resource stands for; one without a name has that of the tables' rows."""
    return {
        "serviceName": service_name(resource),
        "tags": tags(pair for pair in resource.attributes if pair.key != "service.name"),
    }


def service_name(resource: Resource) -> str:
    """The name that the resource's spans are stored and searched under."""
    name = ""
    for pair in resource.attributes:
        if pair.key == "service.name":
            name = any_text(pair.value)
    return name[:_MAX_SERVICE].replace("\0", "\N{REPLACEMENT CHARACTER}") or UNKNOWN_SERVICE


def scope_tags(scope: InstrumentationScope) -> list[Tag]:
    """What every span of the scope says of it."""
    found = (("otel.scope.name", scope.name), ("otel.scope.version", scope.version))
    return [tag(key, value) for key, value in found if value]


def _span_tags(span: Span, of_scope: list[Tag]) -> list[Tag]:
    own = tags(pair for pair in span.attributes if pair.key != WARNINGS)
    made: list[Tag] = []
    if kind := _KINDS.get(span.kind):
        made.append(tag("span.kind", kind))
    if span.HasField("status"):
        status = span.status
        if code := _STATUS.get(status.code):
            made.append(tag("otel.status_code", code))
        if status.code == Status.STATUS_CODE_ERROR:
            made.append({"key": "error", "type": "bool", "value": True})
        if status.message:
            made.append(tag("otel.status_description", status.message))
    if span.trace_state:
        made.append(tag("w3c.tracestate", span.trace_state))
    dropped = (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count)
    made += [
        {"key": key, "type": "int64", "value": count} for key, count in zip(_DROPPED, dropped, strict=True) if count
    ]
    # A sender may have put some of these into attributes already: the same tag is not shown twice.
    return [*of_scope, *own, *(one for one in made if one not in own)]


def _references(span: Span, trace_id: str) -> list[dict[str, str]]:
    references = []
    parent = span.parent_span_id
    has_parent = parent not in _NO_ID
    if has_parent:
        references.append({"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent.hex()})
    for link in span.links:
        if link.trace_id in _NO_ID and link.span_id in _NO_ID:
            continue
        kind = _ref_type(link)
        if has_parent and link.span_id == parent and link.trace_id == span.trace_id and kind is not None:
            # What was a reference of OpenTracing came as parent and as link; the link says of which type it was.
            references[0]["refType"] = kind
            continue
        references.append(
            {"refType": kind or "FOLLOWS_FROM", "traceID": trace_id_v1(link.trace_id), "spanID": link.span_id.hex()}
        )
    return references


def _ref_type(link: Span.Link) -> str | None:
    for pair in link.attributes:
        if pair.key == _REF_TYPE:
            return {"child_of": "CHILD_OF", "follows_from": "FOLLOWS_FROM"}.get(pair.value.string_value)
    return None


def _log(event: Span.Event) -> dict[str, Any]:
    fields = tags(event.attributes)
    if event.name:
        named = tag("event", event.name)
        fields = [named, *(field for field in fields if field != named)]
    if event.dropped_attributes_count:
        fields.append({"key": _DROPPED[0], "type": "int64", "value": event.dropped_attributes_count})
    return {"timestamp": event.time_unix_nano // 1000, "fields": fields}
