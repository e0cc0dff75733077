"""Zipkin's protobuf: bytes → spans, and spans → bytes.

Source: openzipkin/zipkin-api, zipkin.proto (`zipkin.proto3.ListOfSpans`). The messages are declared in the table below
and live in a pool of their own: an application's generated ones, of the same names, do not meet them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ares_otel.model.zipkin import checks
from ares_otel.model.zipkin.span import Endpoint, Kind, WrongSpan, ZipkinSpan

_KINDS: tuple[Kind, ...] = ("", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_FIELD = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, dict[str, tuple[int, Any]]] = {
    "Endpoint": {
        "service_name": (1, _FIELD.TYPE_STRING),
        "ipv4": (2, _FIELD.TYPE_BYTES),
        "ipv6": (3, _FIELD.TYPE_BYTES),
        "port": (4, _FIELD.TYPE_INT32),
    },
    "Annotation": {"timestamp": (1, _FIELD.TYPE_FIXED64), "value": (2, _FIELD.TYPE_STRING)},
    # On the wire a map is a list of these.
    "Tag": {"key": (1, _FIELD.TYPE_STRING), "value": (2, _FIELD.TYPE_STRING)},
    "Span": {
        "trace_id": (1, _FIELD.TYPE_BYTES),
        "parent_id": (2, _FIELD.TYPE_BYTES),
        "id": (3, _FIELD.TYPE_BYTES),
        "kind": (4, _FIELD.TYPE_INT32),
        "name": (5, _FIELD.TYPE_STRING),
        "timestamp": (6, _FIELD.TYPE_FIXED64),
        "duration": (7, _FIELD.TYPE_UINT64),
        "local_endpoint": (8, "Endpoint"),
        "remote_endpoint": (9, "Endpoint"),
        "annotations": (10, ["Annotation"]),
        "tags": (11, ["Tag"]),
        "debug": (12, _FIELD.TYPE_BOOL),
        "shared": (13, _FIELD.TYPE_BOOL),
    },
    "ListOfSpans": {"spans": (1, ["Span"])},
}
"""Message → field → number and type; a name is the message of that name, in a list when there are several."""


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="zipkin.proto", package="zipkin.proto3", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            made = message.field.add(name=field, number=number, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind, list):
                made.label = _FIELD.LABEL_REPEATED
                kind = kind[0]
            if isinstance(kind, str):
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f".zipkin.proto3.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("zipkin.proto3.ListOfSpans"))


ListOfSpans: Any = _message_class()
"""The message that is sent."""


def read_span(span: Any) -> ZipkinSpan:
    """One `Span` of a `ListOfSpans`. Raises WrongSpan."""
    own = checks.span_id(span.id)
    timestamp, duration = checks.times(span.timestamp, span.duration)
    if not 0 <= span.kind < len(_KINDS):
        raise WrongSpan("kind is none of CLIENT, SERVER, PRODUCER, CONSUMER")
    return ZipkinSpan(
        trace_id=checks.trace_id(span.trace_id),
        id=own,
        parent_id=checks.parent_id(span.parent_id, own),
        kind=_KINDS[span.kind],
        name=span.name,
        timestamp=timestamp,
        duration=duration,
        local=_endpoint(span, "local_endpoint"),
        remote=_endpoint(span, "remote_endpoint"),
        annotations=[
            (checks.microseconds("annotations.timestamp", one.timestamp), one.value) for one in span.annotations
        ],
        tags={tag.key: tag.value for tag in span.tags},
        debug=span.debug,
        shared=span.shared,
    )


def write_spans(spans: Iterable[ZipkinSpan]) -> bytes:
    """A `ListOfSpans`."""
    message = ListOfSpans()
    for span in spans:
        made = message.spans.add(
            trace_id=span.trace_id if any(span.trace_id[:8]) else span.trace_id[8:],
            parent_id=span.parent_id,
            id=span.id,
            kind=_KINDS.index(span.kind),
            name=span.name,
            timestamp=span.timestamp,
            duration=span.duration,
            debug=span.debug,
            shared=span.shared,
        )
        for endpoint, field in ((span.local, made.local_endpoint), (span.remote, made.remote_endpoint)):
            if endpoint:
                field.service_name, field.port = endpoint.service_name, endpoint.port
                field.ipv4 = ip_address(endpoint.ipv4).packed if endpoint.ipv4 else b""
                field.ipv6 = ip_address(endpoint.ipv6).packed if endpoint.ipv6 else b""
        for at, text in span.annotations:
            made.annotations.add(timestamp=at, value=text)
        for key, value in span.tags.items():
            made.tags.add(key=key, value=value)
    return bytes(message.SerializeToString())


def _endpoint(span: Any, field: str) -> Endpoint:
    if not span.HasField(field):
        return Endpoint()
    found = getattr(span, field)
    try:
        endpoint = Endpoint(found.service_name, port=checks.port(found.port))
        for name, packed in (("ipv4", found.ipv4), ("ipv6", found.ipv6)):
            if len(packed) not in (0, 4, 16):  # the Go library writes 16 bytes for either kind
                raise WrongSpan(f"{name} is not an address of 4 or 16 bytes")
            if packed:
                checks.put_address(endpoint, str(ip_address(packed)))
    except WrongSpan as wrong:
        raise WrongSpan(f"{field}.{wrong}") from None
    return endpoint
