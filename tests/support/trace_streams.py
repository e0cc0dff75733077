"""Traces of many spans for tests that stream them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from ares_otel.query.trace_stream import stream_trace
from tests.support.stored_rows import TRACE, now

HOUR = timedelta(hours=1)


async def chunks_of(pool: asyncpg.Pool, trace_id: UUID = TRACE, **options: object) -> list[TracesData]:
    return [chunk async for chunk in stream_trace(pool, trace_id, **options)]  # type: ignore[arg-type]


def spans_of(*chunks: TracesData | ExportTraceServiceRequest) -> list[Span]:
    """In the order in which they stand there."""
    return [span for chunk in chunks for r in chunk.resource_spans for s in r.scope_spans for span in s.spans]


def names_of(*chunks: TracesData) -> list[str]:
    return [span.name for span in spans_of(*chunks)]


async def insert_many(sql: asyncpg.Connection | asyncpg.Pool, count: int, *, text: int = 500) -> None:
    """So many spans, a microsecond apart, in an order of their own."""
    await sql.execute(
        """
        INSERT INTO service_spans (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms,
                                   duration_ns, attributes)
        SELECT $1, decode(lpad(to_hex(n), 16, '0'), 'hex'), 'orders', 'operation ' || n, 'internal',
               $2::timestamptz + n * interval '1 microsecond', 1, 1000000,
               jsonb_build_object('http.route', '/orders/{id}', 'number', n, 'text', repeat('x', $4))
        FROM generate_series(0, $3 - 1) AS n ORDER BY hashint4(n)
        """,
        TRACE,
        now() - HOUR,
        count,
        text,
    )
