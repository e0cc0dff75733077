"""Traces in few words, for tests of what Jaeger's doors show."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from tests.support.otlp_samples import pairs

MS = 10**6
NOW = time.time_ns() // 10**9 * 10**9
"""When the tests began, to the second."""
TRACE_ID = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")


def sid(number: int) -> bytes:
    """A span id."""
    return number.to_bytes(8, "big")


def span(
    number: int,
    parent: int = 0,
    at: int = 0,
    ms: int = 10,
    *,
    kind: str = "internal",
    name: str = "",
    base: int = 1_700_000_000_000 * MS,
    trace_id: bytes = TRACE_ID,
    attributes: Mapping[str, Any] | None = None,
) -> Span:
    """A span that starts `at` milliseconds after the test's time and takes `ms`."""
    return Span(
        trace_id=trace_id,
        span_id=sid(number),
        parent_span_id=sid(parent) if parent else b"",
        name=name or f"span {number}",
        kind=Span.SpanKind.Value(f"SPAN_KIND_{kind.upper()}"),
        start_time_unix_nano=base + at * MS,
        end_time_unix_nano=base + (at + ms) * MS,
        attributes=pairs(attributes or {}),
    )


def here(number: int, parent: int = 0, at: int = -60_000, ms: int = 10, **options: Any) -> Span:
    """A span that started `at` milliseconds from now, a minute ago by default."""
    return span(number, parent, at, ms, base=NOW, **options)


def of(number: int) -> bytes:
    """A trace id."""
    return number.to_bytes(16, "big")


def trace(services: Mapping[str, Sequence[Span]], **resource: Any) -> TracesData:
    """The spans of each service under a resource of its own; `resource` are attributes that all have."""
    data = TracesData()
    for service, spans in services.items():
        data.resource_spans.append(resource_spans(spans, {"service.name": service, **resource}))
    return data


def resource_spans(spans: Sequence[Span], resource: Mapping[str, Any]) -> ResourceSpans:
    """Spans under a resource with these attributes, in one scope."""
    container = ResourceSpans()
    container.resource.attributes.extend(pairs(resource))
    container.scope_spans.add().spans.extend(spans)
    return container


def all_spans(data: TracesData) -> Iterator[Span]:
    for container in data.resource_spans:
        for scope in container.scope_spans:
            yield from scope.spans
