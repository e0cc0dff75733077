"""Zipkin's JSON: values of a parsed list → spans, and spans → JSON.

Source: openzipkin/zipkin-api, zipkin2-api.yaml. What it does not say is as in Zipkin's own reader: fields it does not
know are ignored, `null` means not given, numbers may stand in quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, get_args

import orjson

from ares_otel.model.zipkin import checks
from ares_otel.model.zipkin.span import Endpoint, Kind, WrongSpan, ZipkinSpan

_KINDS: dict[str, Kind] = {name: name for name in get_args(Kind)}
_HEX = re.compile(r"[0-9a-fA-F]{1,32}")
_INTEGER = re.compile(r"[0-9]{1,20}")


def read_span(value: Any) -> ZipkinSpan:
    """One element of the list. Raises WrongSpan."""
    if not isinstance(value, dict):
        raise WrongSpan("it is not an object")
    own = checks.span_id(_id(value, "id"))
    timestamp, duration = checks.times(_number(value, "timestamp"), _number(value, "duration"))
    kind = _KINDS.get(_text(value, "kind").upper())
    if kind is None:
        raise WrongSpan("kind is none of CLIENT, SERVER, PRODUCER, CONSUMER")
    return ZipkinSpan(
        trace_id=checks.trace_id(_id(value, "traceId")),
        id=own,
        parent_id=checks.parent_id(_id(value, "parentId"), own),
        kind=kind,
        name=_text(value, "name"),
        timestamp=timestamp,
        duration=duration,
        local=_endpoint(value, "localEndpoint"),
        remote=_endpoint(value, "remoteEndpoint"),
        annotations=_annotations(value),
        tags=_tags(value),
        debug=_flag(value, "debug"),
        shared=_flag(value, "shared"),
    )


def write_spans(spans: Iterable[ZipkinSpan]) -> bytes:
    """The list of spans in JSON; what is empty is left out."""
    return orjson.dumps([_span_object(span) for span in spans])


def _span_object(span: ZipkinSpan) -> dict[str, Any]:
    # Zipkin takes 64 bits for what they are, and a trace that began with them is found under them.
    trace_id = span.trace_id if any(span.trace_id[:8]) else span.trace_id[8:]
    found: dict[str, Any] = {"traceId": trace_id.hex(), "id": span.id.hex()}
    for name, value in (
        ("parentId", span.parent_id.hex()),
        ("kind", span.kind),
        ("name", span.name),
        ("timestamp", span.timestamp),
        ("duration", span.duration),
        ("localEndpoint", _endpoint_object(span.local)),
        ("remoteEndpoint", _endpoint_object(span.remote)),
        ("annotations", [{"timestamp": at, "value": text} for at, text in span.annotations]),
        ("tags", span.tags),
        ("debug", span.debug),
        ("shared", span.shared),
    ):
        if value:
            found[name] = value
    return found


def _endpoint_object(endpoint: Endpoint) -> dict[str, Any]:
    fields = (
        ("serviceName", endpoint.service_name),
        ("ipv4", endpoint.ipv4),
        ("ipv6", endpoint.ipv6),
        ("port", endpoint.port),
    )
    return {name: value for name, value in fields if value}


def _id(values: dict[str, Any], field: str) -> bytes:
    value = values.get(field)
    if value is None or value == "":
        return b""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise WrongSpan(f"{field} is not hexadecimal, of at most 32 digits")
    return bytes.fromhex(value if len(value) % 2 == 0 else f"0{value}")


def _text(values: dict[str, Any], field: str) -> str:
    value = values.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WrongSpan(f"{field} is not a string")
    return value


def _number(values: dict[str, Any], field: str) -> int:
    value = values.get(field)
    if value is None:
        return 0
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return int(value)  # 1.5e15, or a fraction of a microsecond
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise WrongSpan(f"{field} is not a number")


def _flag(values: dict[str, Any], field: str) -> bool:
    value = values.get(field)
    if value is not None and not isinstance(value, bool):
        raise WrongSpan(f"{field} is neither true nor false")
    return bool(value)


def _object(values: dict[str, Any], field: str) -> dict[str, Any]:
    value = values.get(field)
    if value is not None and not isinstance(value, dict):
        raise WrongSpan(f"{field} is not an object")
    return value or {}


def _endpoint(values: dict[str, Any], field: str) -> Endpoint:
    found = _object(values, field)
    if not found:
        return Endpoint()
    try:
        endpoint = Endpoint(_text(found, "serviceName"), port=checks.port(_number(found, "port")))
        for name in ("ipv4", "ipv6"):
            if text := _text(found, name):
                checks.put_address(endpoint, text)
    except WrongSpan as wrong:
        raise WrongSpan(f"{field}.{wrong}") from None
    return endpoint


def _annotations(values: dict[str, Any]) -> list[tuple[int, str]]:
    found = values.get("annotations")
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise WrongSpan("annotations is not a list of objects")
    return [
        (checks.microseconds("annotations.timestamp", _number(one, "timestamp")), _text(one, "value")) for one in found
    ]


def _tags(values: dict[str, Any]) -> dict[str, str]:
    """Text; a number or truth value that a sender wrote without quotes becomes the text of it."""
    found = _object(values, "tags")
    try:
        return {
            key: value if isinstance(value, str) else orjson.dumps(value).decode()
            for key, value in found.items()
            if value is not None
        }
    except TypeError:  # orjson reads deeper than it writes
        raise WrongSpan("tags holds a value that is nested too deeply") from None
