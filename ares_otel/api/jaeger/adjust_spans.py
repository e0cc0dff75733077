"""The spans of a trace with what adjusting them needs to know of their surroundings."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

_NONE = bytes(8)
_HOST_KEYS = ("host.id", "host.ip", "host.name")


@dataclass(slots=True)
class Placed:
    """A span, and where it comes from."""

    index: int
    """In the order of the trace."""
    span: Span
    resource: int
    """The same number for spans of equal resources."""
    clock: str
    """The same for spans whose times come from one clock."""

    @property
    def id(self) -> bytes:
        return self.span.span_id

    @property
    def parent_id(self) -> bytes | None:
        """None for a span that names no parent."""
        parent: bytes = self.span.parent_span_id
        return parent if parent and parent != _NONE else None


def spans_of(data: TracesData) -> list[Placed]:
    """All spans, in order."""
    numbers: dict[bytes, int] = {}
    found: list[Placed] = []
    for container in data.resource_spans:
        number = numbers.setdefault(container.resource.SerializeToString(deterministic=True), len(numbers))
        clock = _host(container.resource) or f"resource {number}"
        for scope in container.scope_spans:
            for span in scope.spans:
                found.append(Placed(len(found), span, number, clock))
    return found


def _host(resource: Resource) -> str | None:
    """The host that the resource names: Jaeger's order of attributes, of `host.ip` the first address."""
    values = {pair.key: pair.value for pair in resource.attributes if pair.key in _HOST_KEYS}
    for key in _HOST_KEYS:
        value = values.get(key)
        if value is None:
            continue
        text = value.string_value
        if not text and value.array_value.values:
            text = value.array_value.values[0].string_value
        if text:
            return f"{key} {text}"
    return None
