"""OTLP → Zipkin spans.

Sources: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation"; where it is silent (resource, trace
state, links), the Collector's pkg/translator/zipkin.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.model.zipkin import checks, names
from ares_otel.model.zipkin.annotations import event_text, link_text
from ares_otel.model.zipkin.span import Endpoint, Kind, WrongSpan, ZipkinSpan
from ares_otel.model.zipkin.values import text_of

_KINDS: dict[int, Kind] = {
    Span.SPAN_KIND_CLIENT: "CLIENT",
    Span.SPAN_KIND_SERVER: "SERVER",
    Span.SPAN_KIND_PRODUCER: "PRODUCER",
    Span.SPAN_KIND_CONSUMER: "CONSUMER",
}
_REMOTE: tuple[tuple[str, str | None], ...] = (
    (names.PEER_SERVICE, None),
    ("service.peer.name", None),  # what the semantic conventions made of it
    ("server.address", None),
    ("net.peer.name", None),
    (names.PEER_ADDRESS, names.PEER_PORT),
    ("server.socket.domain", None),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.name", None),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("peer.hostname", None),
    ("peer.address", None),
    ("db.name", None),
)
"""Where the remote endpoint comes from, best first; an attribute with a port beside it is an address. Specification,
"Remote endpoint", ranks 1 to 11."""


def from_otlp(request: ExportTraceServiceRequest, default_service_name: str) -> tuple[list[ZipkinSpan], int]:
    """The spans, and how many were left out because their ids are none.

    Args:
        default_service_name: name of a service whose resource says none.
    """
    spans: list[ZipkinSpan] = []
    wrong = 0
    for group in request.resource_spans:
        resource = _tags(group.resource.attributes)
        service = resource.pop(names.SERVICE_NAME, "") or default_service_name
        for part in group.scope_spans:
            shared = {**resource, **_scope_tags(part.scope)}
            for span in part.spans:
                try:
                    spans.append(_span(span, service, shared))
                except WrongSpan:
                    wrong += 1
    return spans, wrong


def _span(span: Span, service: str, shared: dict[str, str]) -> ZipkinSpan:
    if len(span.trace_id) != 16 or len(span.span_id) != 8:
        raise WrongSpan("id is not of the right length")
    own = checks.span_id(span.span_id)
    tags = {**shared, **_tags(span.attributes)}
    local = Endpoint(service)
    _place(local, tags, names.LOCAL_ADDRESS, names.LOCAL_PORT)
    _second(local, tags, names.LOCAL_IPV6)
    kind = _KINDS.get(span.kind, "")
    remote = _remote(kind, tags)
    start_absent = tags.pop(names.START_ABSENT, "") == "true"
    debug, is_shared = (tags.pop(key, "") == "true" for key in (names.DEBUG, names.SHARED))
    _add_status(tags, span.status)
    for key, text in _rest(span, tags):
        tags[key] = text
    took = span.end_time_unix_nano - span.start_time_unix_nano
    return ZipkinSpan(
        trace_id=checks.trace_id(span.trace_id),
        id=own,
        parent_id=checks.parent_id(span.parent_span_id, own),
        kind=kind,
        name=span.name,
        timestamp=0 if start_absent else span.start_time_unix_nano // 1000,
        duration=max(took // 1000, 1) if took > 0 else 0,
        local=local,
        remote=remote,
        annotations=[(event.time_unix_nano // 1000, event_text(event)) for event in span.events],
        tags=tags,
        debug=debug,
        shared=is_shared,
    )


def _tags(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: text_of(attribute.value) for attribute in attributes}


def _scope_tags(scope: Any) -> dict[str, str]:
    found = {names.SCOPE + key: text for key, text in _tags(scope.attributes).items()}
    for key, text in ((names.SCOPE_NAME[0], scope.name), (names.SCOPE_VERSION[0], scope.version)):
        if text:
            found[key] = text
    return found


def _add_status(tags: dict[str, str], status: Status) -> None:
    """Zipkin takes a span with any `error` for failed, so there is none on others."""
    tags.pop(names.ERROR, None)
    if status.code == Status.STATUS_CODE_ERROR:
        tags[names.STATUS_CODE] = "ERROR"
        tags[names.ERROR] = status.message
        if status.message.lower() == "true":  # which also stands for no message
            tags[names.STATUS_DESCRIPTION] = status.message
    elif status.code == Status.STATUS_CODE_OK:
        tags[names.STATUS_CODE] = "OK"
        if status.message:
            tags[names.STATUS_DESCRIPTION] = status.message


def _rest(span: Span, tags: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Tags for what Zipkin has no field for."""
    if span.trace_state:
        yield names.TRACE_STATE, span.trace_state
    for key, count in (
        (names.DROPPED_ATTRIBUTES, span.dropped_attributes_count),
        (names.DROPPED_EVENTS, span.dropped_events_count),
        (names.DROPPED_LINKS, span.dropped_links_count),
    ):
        if count:
            yield key, str(count)
    number = 0
    for link in span.links:
        while f"{names.LINK}{number}" in tags:  # an attribute of that name
            number += 1
        yield f"{names.LINK}{number}", link_text(link)


def _remote(kind: Kind, tags: dict[str, str]) -> Endpoint:
    """The other side. Of a client or producer, the best attribute that names it, for Zipkin draws its map from that; of
    others only what says who it was."""
    found = Endpoint()
    for key, port in _REMOTE if kind in ("CLIENT", "PRODUCER") else _REMOTE[:1]:
        if text := tags.get(key):
            if port is None or not _place(found, tags, key, port):
                found.service_name = text
            break
    if not found.ipv4 and not found.ipv6:
        _place(found, tags, names.PEER_ADDRESS, names.PEER_PORT)
    _second(found, tags, names.PEER_IPV6)
    return found


def _place(into: Endpoint, tags: dict[str, str], address: str, port: str) -> bool:
    """Fills address and port from the tags, where they are such. Returns whether there was an address."""
    if (text := tags.get(port, "")).isdecimal() and text.isascii() and len(text) <= 5 and int(text) <= 65535:
        into.port = int(text)
    given = tags.get(address, "")
    try:
        if ":" in given:
            into.ipv6 = str(IPv6Address(given.partition("%")[0]))
        else:
            into.ipv4 = str(IPv4Address(given))
    except AddressValueError:
        return False
    return True


def _second(into: Endpoint, tags: dict[str, str], key: str) -> None:
    """The IPv6 address of an endpoint that has both kinds."""
    if not into.ipv6 and (text := tags.get(key)):
        try:
            into.ipv6 = str(IPv6Address(text))
        except AddressValueError:
            return
        del tags[key]
