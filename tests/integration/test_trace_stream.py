"""Whole traces as OTLP: what was sent comes back, in chunks, from memory and connections that are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.model.signal import TRACES
from ares_otel.query import ranges, reader
from ares_otel.query.instant import Instant
from ares_otel.query.reader import QueryTooSlow
from ares_otel.query.statements import Statement
from ares_otel.query.trace_places import has_spans
from ares_otel.query.trace_stream import stream_trace, stream_traces
from ares_otel.query.traces import find_trace
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.restore import restore_request
from tests.support.encoders import encode_batch
from tests.support.otlp_compare import items_of
from tests.support.otlp_samples import batch_of, pairs, resource, scope, span, trace_request
from tests.support.otlp_strategies import trace_requests
from tests.support.partitions import day, make_partition
from tests.support.rows_store import store
from tests.support.stored_rows import TRACE, insert_log, insert_span, now
from tests.support.trace_streams import HOUR, chunks_of, insert_many, names_of, spans_of


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as made:
        yield made


async def test_what_was_sent_comes_back(pool: asyncpg.Pool, sql: asyncpg.Connection) -> None:
    """Types, events, links, times, attributes that jsonb cannot hold, spans without resource or scope."""
    odd = span(
        name="odd", attributes=pairs({"nan": float("nan"), "bytes": b"\x00\xff", "zero": -0.0, "int": 1, "double": 1.0})
    )
    old = span(name="old", start_time_unix_nano=17, end_time_unix_nano=5)
    request = trace_request(spans=[span(), odd, old, span(name="again"), span(name="again")])
    request.resource_spans.add(schema_url="https://example.com/1").scope_spans.add().spans.append(span(name="bare"))
    for item in spans_of(request):
        item.trace_id = TRACE.bytes
    await put(sql, request)
    assert items_of(TracesData(resource_spans=(await one(pool)).resource_spans)) == items_of(request)
    assert items_of(await restore_request(sql, TRACES, trace_id=TRACE.bytes)) == items_of(request)


def test_requests_of_every_shape_come_back_whatever_the_chunks_are(database_url: str) -> None:
    async def opened() -> asyncpg.Pool:
        return await asyncpg.create_pool(database_url, min_size=0, max_size=2)

    with asyncio.Runner() as runner:
        sql = runner.run(asyncpg.connect(database_url))
        pool = runner.run(opened())

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(trace_requests(time.time_ns()), st.integers(1, 4), st.sampled_from((50, 400, 10_000)))
        def check(request: ExportTraceServiceRequest, chunk_spans: int, chunk_bytes: int) -> None:
            trace_id = uuid4()
            for item in spans_of(request):
                item.trace_id = trace_id.bytes
            runner.run(put(sql, request))
            chunks = runner.run(chunks_of(pool, trace_id, chunk_spans=chunk_spans, chunk_bytes=chunk_bytes))
            assert sum(map(items_of, chunks), start=Counter()) == items_of(request)
            for chunk in chunks:
                assert 1 <= len(spans_of(chunk)) <= chunk_spans
                assert chunk.ByteSize() <= chunk_bytes or len(spans_of(chunk)) == 1

        try:
            check()
        finally:
            runner.run(pool.close())
            runner.run(sql.close())


async def put(sql: asyncpg.Connection, request: ExportTraceServiceRequest) -> None:
    await store(sql, encode_batch(batch_of(request), await read_windows(sql)))


async def one(pool: asyncpg.Pool) -> TracesData:
    [chunk] = await chunks_of(pool)
    return chunk


async def test_an_unknown_trace_gives_nothing(pool: asyncpg.Pool) -> None:
    assert await chunks_of(pool) == []


async def test_spans_come_by_start_in_chunks_of_bounded_number_and_size(pool: asyncpg.Pool) -> None:
    await insert_many(pool, 1_000)
    chunks = await chunks_of(pool, chunk_spans=300)
    assert [len(spans_of(chunk)) for chunk in chunks] == [300, 300, 300, 100]
    assert names_of(*chunks) == [f"operation {n}" for n in range(1_000)]
    small = await chunks_of(pool, chunk_bytes=20_000)
    assert names_of(*small) == names_of(*chunks)
    assert max(chunk.ByteSize() for chunk in small) <= 20_000
    assert len(small) < 60, "and not one for each span"


async def test_a_span_that_is_larger_than_a_chunk_stands_alone(pool: asyncpg.Pool) -> None:
    for number, text in enumerate(("x", "x" * 50_000, "x")):
        await insert_span(pool, number, attributes={"text": text}, start_time=now() + timedelta(seconds=number))
    chunks = await chunks_of(pool, chunk_bytes=10_000)
    assert [names_of(chunk) for chunk in chunks] == [["operation 0"], ["operation 1"], ["operation 2"]]


async def test_resources_count_towards_the_size_of_a_chunk(pool: asyncpg.Pool, sql: asyncpg.Connection) -> None:
    request = trace_request(spans=[])
    del request.resource_spans[:]
    for number in range(40):
        r = request.resource_spans.add(resource=resource(f"service {number}", text="y" * 3_000))
        r.scope_spans.add(scope=scope(f"scope {number}")).spans.append(span(name=str(number), trace_id=TRACE.bytes))
    await put(sql, request)
    chunks = await chunks_of(pool, chunk_bytes=20_000)
    assert max(chunk.ByteSize() for chunk in chunks) <= 20_000
    assert sum(map(items_of, chunks), start=Counter()) == items_of(request)


async def test_resources_and_scopes_that_are_no_longer_kept_are_read_again(
    pool: asyncpg.Pool, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.query.trace_chunks.KEPT_DEFINITIONS", 5)
    request = trace_request(spans=[])
    del request.resource_spans[:]
    for number in [*range(300), *range(300)]:
        r = request.resource_spans.add(resource=resource(f"service {number}"))
        r.scope_spans.add(scope=scope()).spans.append(span(name=str(number), trace_id=TRACE.bytes))
    await put(sql, request)
    chunks = await chunks_of(pool, chunk_spans=50)
    assert sum(map(items_of, chunks), start=Counter()) == items_of(request)


async def test_a_hundred_thousand_spans_neither_live_in_memory_nor_block_others(pool: asyncpg.Pool) -> None:
    await insert_many(pool, 100_000, text=0)
    turns = seen = 0
    enough = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not enough.is_set():
            await asyncio.sleep(0.001)
            turns += 1

    beside = asyncio.create_task(others())
    before = peak = resident()
    async for chunk in stream_trace(pool, TRACE):
        seen += len(spans_of(chunk))
        peak = max(peak, resident())
        turns *= seen > len(spans_of(chunk))  # counted from the first chunk on
    enough.set()
    await beside
    assert seen == 100_000
    assert peak - before < 50_000_000, "the rows of the driver alone would be three times as much"
    assert turns > 400, "chunks are made in slices, and others have their turns between them"


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
async def ten_days(sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition at a time is looked at, as if there were thousands; they go back ten days."""
    monkeypatch.setattr(ranges, "PARTITIONS_AT_ONCE", 1)
    for days_ago in range(3, 11):
        await make_partition(sql, "service_spans", days_ago)
        await make_partition(sql, "service_logs", days_ago)


@pytest.mark.usefixtures("ten_days")
async def test_the_same_spans_are_found_as_by_find_trace(pool: asyncpg.Pool) -> None:
    """Parts less than a day apart are one trace, also where only a log record stands between them."""
    start = day(9) + HOUR
    for number in range(4):
        await insert_span(pool, number, start_time=start + number * 20 * HOUR)
    await insert_span(pool, 4, start_time=start + 100 * HOUR)
    await insert_log(pool, trace_id=TRACE, timestamp=start + 80 * HOUR)
    found = await find_trace(pool, TRACE)
    assert found is not None
    assert names_of(*await chunks_of(pool)) == [place.row.operation_name for place in found.spans]
    assert len(found.spans) == 5
    await insert_span(pool, 5, start_time=now())
    assert names_of(*await chunks_of(pool)) == ["operation 5"], "days lie between: it is taken for another"


@pytest.mark.usefixtures("ten_days")
async def test_a_trace_that_was_found_is_looked_for_around_that_time_and_comes_as_a_whole(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans 20 hours apart; one of them matched. What lies days later is not looked at."""
    asked: list[datetime] = []
    fetch = reader.Reader.fetch

    async def counted(self: reader.Reader, statement: Statement, **values: object) -> list[Any]:
        if statement.name == "trace_firsts":
            assert isinstance(values["upper"], datetime)
            asked.append(values["upper"])
        return await fetch(self, statement, **values)

    monkeypatch.setattr(reader.Reader, "fetch", counted)
    start = day(10) + HOUR
    for number in range(4):
        await insert_span(pool, number, start_time=start + number * 20 * HOUR)
    for number in (0, 3):
        at = start + number * 20 * HOUR
        asked.clear()
        seen = await chunks_of(pool, near=(Instant(at), Instant(at)))
        assert names_of(*seen) == [f"operation {n}" for n in range(4)]
        assert max(asked) < day(4), "nothing of the last days"


@pytest.mark.usefixtures("ten_days")
async def test_whether_a_trace_has_spans_in_a_time_range_is_known_without_reading_them(pool: asyncpg.Pool) -> None:
    await insert_span(pool, 1, start_time=day(5), start_ns=7)
    assert await has_spans(pool, TRACE)
    assert await has_spans(pool, TRACE, start=Instant(day(5), 7), end=Instant(day(5), 8))
    assert not await has_spans(pool, TRACE, start=Instant(day(5), 8))
    assert not await has_spans(pool, TRACE, end=Instant(day(5), 7))
    assert not await has_spans(pool, UUID(int=9))


@pytest.mark.usefixtures("ten_days")
async def test_a_time_range_is_exact(pool: asyncpg.Pool) -> None:
    at = day(6)
    for number, start in enumerate((at - HOUR, at, at + HOUR, at + 48 * HOUR)):
        await insert_span(pool, number, start_time=start, start_ns=500)
    ranges_and_spans: tuple[tuple[Instant | None, Instant | None, list[int]], ...] = (
        (Instant(at, 500), Instant(at + HOUR, 500), [1]),
        (Instant(at, 501), Instant(at + HOUR, 501), [2]),
        (Instant(at - 24 * HOUR), Instant(at + 72 * HOUR), [0, 1, 2, 3]),
        (Instant(at - 24 * HOUR), None, [0, 1, 2, 3]),
        (None, Instant(at + HOUR, 500), [0, 1]),
    )
    for first, last, expected in ranges_and_spans:
        assert names_of(*await chunks_of(pool, start=first, end=last)) == [f"operation {n}" for n in expected]


@pytest.mark.usefixtures("ten_days")
async def test_a_trace_that_lies_far_back_is_found_by_a_search_that_waits_for_its_turn(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares_otel.query.trace_places.CHEAP_RANGES", 2)
    await insert_span(pool, 1, start_time=day(9))
    assert names_of(*await chunks_of(pool)) == ["operation 1"]
    monkeypatch.setattr("ares_otel.query.trace_search.SEARCH_SECONDS", 0.0)
    with pytest.raises(QueryTooSlow, match="Nothing was found back to"):
        await chunks_of(pool, UUID(int=9))


async def test_several_traces_come_one_after_the_other(pool: asyncpg.Pool) -> None:
    ids = [UUID(int=n) for n in (3, 1, 2)]
    for id_ in ids:
        for number in range(5):
            await insert_span(pool, number, trace_id=id_)

    class Hit:
        def __init__(self, trace_id: UUID) -> None:
            self.trace_id, self.start, self.end = trace_id, Instant(now() - HOUR), Instant(now())

    hits = [Hit(ids[0]), Hit(UUID(int=9)), Hit(ids[1]), Hit(ids[2])]
    stream = stream_traces(pool, hits, chunk_spans=2)
    async with contextlib.aclosing(stream):
        seen = [{span.trace_id for span in spans_of(chunk)} async for chunk in stream]
    assert seen == [{id_.bytes} for id_ in ids for _ in range(3)]
