"""Zipkin spans → OTLP. What OTLP has no field for becomes an attribute; nothing is left out.

Sources: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation", read from right to left; where it is
silent, the Collector's pkg/translator/zipkin.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.model.zipkin import names
from ares_otel.model.zipkin.annotations import read_event, read_link
from ares_otel.model.zipkin.span import Endpoint, ZipkinSpan
from ares_otel.model.zipkin.values import parse_text

_KINDS = {
    "": Span.SPAN_KIND_INTERNAL,  # "local", in Zipkin's words
    "INTERNAL": Span.SPAN_KIND_INTERNAL,
    "CLIENT": Span.SPAN_KIND_CLIENT,
    "SERVER": Span.SPAN_KIND_SERVER,
    "PRODUCER": Span.SPAN_KIND_PRODUCER,
    "CONSUMER": Span.SPAN_KIND_CONSUMER,
}
_CODES = {"UNSET": Status.STATUS_CODE_UNSET, "OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
_DROPPED = {
    names.DROPPED_ATTRIBUTES: "dropped_attributes_count",
    names.DROPPED_EVENTS: "dropped_events_count",
    names.DROPPED_LINKS: "dropped_links_count",
}

_Texts = tuple[tuple[str, str], ...]


def to_otlp(spans: Iterable[ZipkinSpan], *, parse_string_tags: bool = False) -> ExportTraceServiceRequest:
    """One request with all spans, grouped by what their tags say of resource and scope.

    Args:
        parse_string_tags: texts that look like numbers or truth values become such values. Attributes of the resource
            and the scope stay text: they name things.
    """
    request = ExportTraceServiceRequest()
    resources: dict[_Texts, Any] = {}
    scopes: dict[tuple[_Texts, str, str, _Texts], Any] = {}
    for span in spans:
        tags = dict(span.tags)
        resource = _resource(span.local.service_name, tags)
        scope = (resource, *_scope(tags))
        found = scopes.get(scope)
        if found is None:
            if resource not in resources:
                resources[resource] = request.resource_spans.add()
                _add_texts(resources[resource].resource.attributes, resource)
                resources[resource].resource.SetInParent()
            found = scopes[scope] = resources[resource].scope_spans.add()
            found.scope.name, found.scope.version = scope[1], scope[2]
            _add_texts(found.scope.attributes, scope[3])
        _fill(found.spans.add(), span, tags, parse_string_tags)
    return request


def _resource(service: str, tags: dict[str, str]) -> _Texts:
    """Takes the attributes of the resource out of the tags."""
    if service == names.NO_SERVICE_NAME:
        service = ""
    named = tags.get(names.SERVICE_NAME)
    if named is not None and (not service or named.lower() == service.lower()):  # Zipkin's own lower-cases names
        service = tags.pop(names.SERVICE_NAME)
    found = {names.SERVICE_NAME: service} if service else {}
    source = tags.get(names.SERVICE_NAME_SOURCE)
    if source is not None and service and names.is_of_resource(source):
        found[source] = service
        del tags[names.SERVICE_NAME_SOURCE]
    for key in [key for key in tags if names.is_of_resource(key)]:
        found[key] = tags.pop(key)
    return tuple(sorted(found.items()))


def _scope(tags: dict[str, str]) -> tuple[str, str, _Texts]:
    """Takes name, version and attributes of the scope out of the tags."""
    name, version = _either(tags, names.SCOPE_NAME), _either(tags, names.SCOPE_VERSION)
    rest = [key for key in tags if key.startswith(names.SCOPE) and len(key) > len(names.SCOPE)]
    rest = [key for key in rest if key not in (*names.SCOPE_NAME, *names.SCOPE_VERSION)]
    return name, version, tuple(sorted((key.removeprefix(names.SCOPE), tags.pop(key)) for key in rest))


def _either(tags: dict[str, str], keys: tuple[str, str]) -> str:
    """The value under the newer name, or the older; the older one stays a tag where it says something else."""
    newer, older = tags.get(keys[0]), tags.get(keys[1])
    value = newer if newer is not None else older
    for key in keys:
        if value is not None and tags.get(key) == value:
            del tags[key]
    return value or ""


def _fill(into: Span, span: ZipkinSpan, tags: dict[str, str], parse: bool) -> None:
    into.trace_id, into.span_id, into.parent_span_id = span.trace_id, span.id, span.parent_id
    into.name = span.name
    into.kind = _kind(span, tags)
    into.start_time_unix_nano = span.timestamp * 1000
    into.end_time_unix_nano = (span.timestamp + span.duration) * 1000
    into.trace_state = tags.pop(names.TRACE_STATE, "")
    _status(into, tags)
    _links(into, tags)
    for key, field in _DROPPED.items():
        if (text := tags.get(key, "")).isdecimal() and text.isascii() and len(text) <= 10 and int(text) < 2**32:
            setattr(into, field, int(text))
            del tags[key]
    _endpoint(into, tags, span.local, names.LOCAL_ADDRESS, names.LOCAL_IPV6, names.LOCAL_PORT)
    if (peer := span.remote.service_name) and tags.get(names.PEER_SERVICE, peer) == peer:
        tags.pop(names.PEER_SERVICE, None)
        into.attributes.add(key=names.PEER_SERVICE).value.string_value = peer
    _endpoint(into, tags, span.remote, names.PEER_ADDRESS, names.PEER_IPV6, names.PEER_PORT)
    for key, said in ((names.START_ABSENT, not span.timestamp), (names.DEBUG, span.debug), (names.SHARED, span.shared)):
        if said:
            tags.pop(key, None)
            into.attributes.add(key=key).value.bool_value = True
    for key, text in tags.items():
        value = into.attributes.add(key=key).value
        if parse:
            parse_text(text, value)
        else:
            value.string_value = text
    for at, text in span.annotations:
        read_event(text, into.events.add(time_unix_nano=at * 1000))


def _kind(span: ZipkinSpan, tags: dict[str, str]) -> Any:
    """Zipkin's kind; where it has none, the tag `span.kind` (OpenTracing, and the Collector for INTERNAL)."""
    if not span.kind and (told := tags.get(names.SPAN_KIND, "").upper()) and told in _KINDS:
        del tags[names.SPAN_KIND]
        return _KINDS[told]
    return _KINDS[span.kind]


def _status(into: Span, tags: dict[str, str]) -> None:
    """`otel.status_code` with the message in `error` (the specification) or in `otel.status_description` (the
    Collector); without a code, `error` alone makes a failed span, as for Zipkin, unless it is `false`."""
    error = tags.get(names.ERROR)
    code = _CODES.get(tags.get(names.STATUS_CODE, "").upper().removeprefix("STATUS_CODE_"))
    if code is None and (error is None or error.lower() == "false"):
        return
    if code is None:
        into.status.code = Status.STATUS_CODE_ERROR
    else:
        into.status.code = code
        del tags[names.STATUS_CODE]
    described = tags.pop(names.STATUS_DESCRIPTION, None)
    if described is not None:
        into.status.message = described
    if error is None or into.status.code != Status.STATUS_CODE_ERROR:
        return
    if error == described or error.lower() in ("", "true"):
        del tags[names.ERROR]
    elif described is None:
        into.status.message = tags.pop(names.ERROR)


def _links(into: Span, tags: dict[str, str]) -> None:
    number = 0
    while (text := tags.get(f"{names.LINK}{number}")) is not None:
        if read_link(text, into.links):
            del tags[f"{names.LINK}{number}"]
        number += 1


def _endpoint(into: Span, tags: dict[str, str], endpoint: Endpoint, address: str, second: str, port: str) -> None:
    """Address and port as attributes. A tag that says something else was set on purpose, and stays."""
    first, other = (endpoint.ipv4, endpoint.ipv6) if endpoint.ipv4 else (endpoint.ipv6, "")
    for key, text in ((address, first), (second, other)):
        if text and tags.get(key, text) == text:
            tags.pop(key, None)
            into.attributes.add(key=key).value.string_value = text
    if endpoint.port and tags.get(port, str(endpoint.port)) == str(endpoint.port):
        tags.pop(port, None)
        into.attributes.add(key=port).value.int_value = endpoint.port


def _add_texts(attributes: Any, texts: _Texts) -> None:
    for key, text in texts:
        attributes.add(key=key).value.string_value = text
