"""Spans for tests of the trace search: small, in one request, through the real tables."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery
from ares_otel.storage.partitions import read_windows
from tests.support.encoders import encode_batch
from tests.support.otlp_samples import batch_of, pairs
from tests.support.rows_store import store

SECOND = 1_000_000_000
_numbers = itertools.count(1)


def trace_id(number: int) -> UUID:
    """The id of a trace, in order of its number."""
    return UUID(int=number)


def span(
    trace: int,
    *,
    ago: float = 1.0,
    at: int | None = None,
    number: int | None = None,
    parent: int | None = None,
    name: str = "GET /",
    kind: int = 2,
    ns: int = 1000,
    status: Status | None = None,
    attributes: Mapping[str, Any] | None = None,
    events: Sequence[Mapping[str, Any]] = (),
    links: Sequence[Mapping[str, Any]] = (),
    trace_state: str = "",
) -> Span:
    """A span of a trace that started so many seconds ago, or at a time in nanoseconds; an event is its attributes, with
    its name under `name`; a link is its attributes."""
    start = time.time_ns() - int(ago * SECOND) if at is None else at
    made = Span(
        trace_id=trace_id(trace).bytes,
        span_id=(next(_numbers) if number is None else number).to_bytes(8, "big"),
        parent_span_id=b"" if parent is None else parent.to_bytes(8, "big"),
        name=name,
        kind=kind,  # type: ignore[arg-type] # open enum
        start_time_unix_nano=start,
        end_time_unix_nano=start + ns,
        attributes=pairs(attributes or {}),
        status=status,
        trace_state=trace_state,
    )
    for event in events:
        rest = {key: value for key, value in event.items() if key != "name"}
        made.events.add(name=event.get("name", "event"), time_unix_nano=start + 5, attributes=pairs(rest))
    for link in links:
        made.links.add(trace_id=b"\7" * 16, span_id=b"\7" * 8, attributes=pairs(link))
    return made


async def keep(
    connection: asyncpg.Connection,
    *spans: Span,
    service: str = "orders",
    resource: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    scope_name: str = "lib",
) -> None:
    """Stores spans of one resource and scope."""
    group = ScopeSpans(
        scope=InstrumentationScope(name=scope_name, version="1.2", attributes=pairs(scope or {})), spans=spans
    )
    of = Resource(attributes=pairs({"service.name": service, **(resource or {})}))
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=of, scope_spans=[group])])
    await store(connection, encode_batch(batch_of(request), await read_windows(connection)))


async def found(pool: asyncpg.Pool, **query: Any) -> list[int]:
    """The numbers of the traces that a search finds, in its order."""
    return [trace.trace_id.int for trace in await find_traces(pool, TraceQuery(**query))]
