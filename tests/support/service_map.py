"""Calls between services in tests, and what the map makes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import asyncpg
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.model.signal import TRACES
from ares_otel.storage.store import Store
from tests.support.otlp_samples import pairs, span, trace_request
from tests.support.rollups import run_once
from tests.support.spooling import batch

MINUTE = 60_000_000_000
BEGIN = (time.time_ns() // MINUTE - 30) * MINUTE
"""Half an hour ago."""
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
CONSUMER, PRODUCER = Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_PRODUCER
INTERNAL = Span.SPAN_KIND_INTERNAL

Edge = tuple[str, str, str, int]
"""Who calls, what is called, the connection, and how often."""


def made(
    kind: Any,
    parent: Span | None = None,
    *,
    at: int = BEGIN,
    attributes: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Span:
    """A span of 2 ms."""
    fields: dict[str, Any] = {"start_time_unix_nano": at, "end_time_unix_nano": at + 2_000_000, **changes}
    trace_id = os.urandom(16) if parent is None else parent.trace_id
    fields["attributes"] = pairs(dict(attributes or {}))
    return span(kind=kind, trace_id=trace_id, parent_span_id=b"" if parent is None else parent.span_id, **fields)


def link(to: Span) -> Span.Link:
    """A link to a span."""
    return Span.Link(trace_id=to.trace_id, span_id=to.span_id)


async def send(store: Store, service: str, *spans: Span, instance: str = "") -> None:
    """Stores the spans of a service."""
    request = trace_request(service, list(spans))
    if instance:
        request.resource_spans[0].resource.attributes.extend(pairs({"service.instance.id": instance}))
    await store.consume(batch(TRACES, request))


async def look(store: Store, sql: asyncpg.Connection, rounds: int = 2) -> set[Edge]:
    """The edges after some rounds of the job, each a while after the one before."""
    for _ in range(rounds):
        await sql.execute("UPDATE service_edge_minutes SET computed_at = computed_at - interval '5 minutes'")
        await run_once(store.connect)
    return await edges_of(sql)


async def edges_of(sql: asyncpg.Connection) -> set[Edge]:
    """The edges of all minutes together."""
    rows = await sql.fetch(
        "SELECT parent_service, child_service, connection_type, sum(calls)::bigint FROM service_edges GROUP BY 1, 2, 3"
    )
    return {tuple(row) for row in rows}
