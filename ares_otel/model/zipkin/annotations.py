"""Events as Zipkin's annotations, and links as tags: text with JSON in it.

An event without attributes is its name. With attributes it is `"name": {"key": "value"}`, as the specification has it.
Read are also the forms of the SDKs (`{"name": {…}}`) and of the Collector (`name|{…}|dropped`). A link is a tag
`otlp.link.0` with `trace id|span id|trace state|{…}|dropped`, as the Collector writes it; the specification has none.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.model.zipkin.names import DROPPED_ATTRIBUTES
from ares_otel.model.zipkin.values import TooDeep, add_attributes, json_object

_PIPED = re.compile(r"([^|]*)\|(\{.*\})\|([0-9]{1,10})", re.DOTALL)
_LINK = re.compile(r"([0-9a-f]{32})\|([0-9a-f]{16})\|(.*?)\|(\{.*\})\|([0-9]{1,10})", re.DOTALL)
_UINT32 = 2**32 - 1


def event_text(event: Span.Event) -> str:
    """The annotation for an event."""
    attributes = json_object(event.attributes)
    if event.dropped_attributes_count:
        attributes[DROPPED_ATTRIBUTES] = event.dropped_attributes_count
    if not attributes and _structured(event.name) is None:
        return event.name
    return f"{_dumps(event.name)}: {_dumps(attributes)}"


def read_event(text: str, into: Span.Event) -> None:
    """Fills name, attributes and the count of dropped ones; what is in none of the forms is a name."""
    found = _structured(text)
    if found is not None:
        name, attributes, dropped = found
        try:
            add_attributes(into.attributes, attributes)
        except TooDeep:
            del into.attributes[:]
        else:
            into.name, into.dropped_attributes_count = name, dropped
            return
    into.name = text


def link_text(link: Span.Link) -> str:
    """The tag for a link."""
    attributes = _dumps(json_object(link.attributes))
    ids = f"{link.trace_id.hex()}|{link.span_id.hex()}"
    return f"{ids}|{link.trace_state}|{attributes}|{link.dropped_attributes_count}"


def read_link(text: str, links: Any) -> bool:
    """Adds the link of a tag. False, and nothing added, for a text that is none."""
    parts = _LINK.fullmatch(text)
    if parts is None or (attributes := _object(parts[4])) is None or int(parts[5]) > _UINT32:
        return False
    link = Span.Link(
        trace_id=bytes.fromhex(parts[1]),
        span_id=bytes.fromhex(parts[2]),
        trace_state=parts[3],
        dropped_attributes_count=int(parts[5]),
    )
    try:
        add_attributes(link.attributes, attributes)
    except TooDeep:
        return False
    links.append(link)
    return True


def _structured(text: str) -> tuple[str, dict[str, Any], int] | None:
    """Name, attributes and dropped count of a text in one of the three forms."""
    if text.startswith('"') and text.endswith("}"):
        text = "{" + text + "}"
    if text.startswith("{"):
        whole = _object(text)
        if whole is None or len(whole) != 1:
            return None
        name, attributes = next(iter(whole.items()))
        if not isinstance(attributes, dict):
            return None
        dropped = attributes.get(DROPPED_ATTRIBUTES)
        if isinstance(dropped, int) and not isinstance(dropped, bool) and 0 < dropped <= _UINT32:
            del attributes[DROPPED_ATTRIBUTES]
            return name, attributes, dropped
        return name, attributes, 0
    parts = _PIPED.fullmatch(text)
    if parts is None or int(parts[3]) > _UINT32 or (found := _object(parts[2])) is None:
        return None
    return parts[1], found, int(parts[3])


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()
