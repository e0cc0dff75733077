"""What a list of traces shows about each: its root, its times, and how many spans, errors and orphans it has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ares_otel.query.search.query import TraceQuery
from ares_otel.query.search.summaries import ServiceSpans, summarize_traces
from tests.support.searched_spans import SECOND, keep, span, trace_id

ERROR = Status(code=Status.STATUS_CODE_ERROR, message="boom")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as made:
        yield made


async def test_a_summary_counts_every_span_of_a_found_trace(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        at = span(1).start_time_unix_nano - SECOND
        await keep(
            connection,
            span(1, number=1, at=at + 7, name="checkout", ns=500),
            span(1, number=2, parent=1, at=at + 1, status=ERROR),
            span(1, number=3, parent=99, at=at, name="early orphan"),
            service="shop",
        )
        await keep(connection, span(1, number=4, parent=1, at=at + 9, ns=10_000, name="wanted"), service="orders")
        await keep(connection, span(2, number=1, parent=99, at=at - 1, name="orphan"), service="orders")
    [summary] = await summarize_traces(pool, TraceQuery(operation="wanted"))
    assert (summary.trace_id, summary.root_service, summary.root_operation) == (trace_id(1), "shop", "checkout")
    assert (summary.start_unix_nano, summary.end_unix_nano) == (at, at + 10_009)
    assert (summary.span_count, summary.error_span_count, summary.orphan_span_count) == (4, 1, 1)
    assert summary.services == [ServiceSpans("orders", 1, 0), ServiceSpans("shop", 3, 1)]
    [orphan] = await summarize_traces(pool, TraceQuery(operation="orphan"))
    assert (orphan.root_operation, orphan.orphan_span_count) == ("orphan", 1)
    assert [one.trace_id for one in await summarize_traces(pool, TraceQuery())] == [trace_id(1), trace_id(2)]


async def test_the_earliest_orphan_is_the_root_of_a_trace_without_one(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        at = span(1).start_time_unix_nano
        await keep(
            connection,
            span(1, number=5, parent=6, at=at, name="child"),
            span(1, number=6, parent=99, at=at, name="first orphan"),
            span(1, number=7, parent=98, at=at + 1, name="second orphan"),
            span(2, number=1, parent=2, at=at, name="circle 1"),
            span(2, number=2, parent=1, at=at + 1, name="circle 2"),
        )
    names = {one.trace_id.int: one.root_operation for one in await summarize_traces(pool, TraceQuery())}
    assert names == {1: "first orphan", 2: "circle 1"}
