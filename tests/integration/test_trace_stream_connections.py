"""Who reads a trace holds a connection no longer than it takes, and leaves some to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ares_otel.query import reader, trace_stream
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.query.trace_stream import stream_trace
from ares_otel.query.traces import find_trace
from tests.support.eventually import eventually
from tests.support.stored_rows import TRACE
from tests.support.trace_streams import chunks_of, insert_many, names_of, spans_of


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as made:
        yield made


async def test_who_stops_half_way_gives_the_connection_back_at_once(pool: asyncpg.Pool) -> None:
    await insert_many(pool, 500)
    stream = stream_trace(pool, TRACE, chunk_spans=50)
    assert names_of(await anext(stream))[0] == "operation 0"
    assert pool.get_idle_size() == pool.get_size() - 1
    await stream.aclose()
    assert pool.get_idle_size() == pool.get_size()
    left = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
    """
    assert await pool.fetchval(left) == 0


async def test_a_consumer_that_is_cancelled_gives_the_connection_back(pool: asyncpg.Pool) -> None:
    await insert_many(pool, 500)
    begun = asyncio.Event()

    async def consume() -> None:
        async for _ in stream_trace(pool, TRACE, chunk_spans=50):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_asyncgens()
    assert pool.get_idle_size() == pool.get_size()


async def test_a_database_that_is_away_is_told_at_the_first_step() -> None:
    async with asyncpg.create_pool("postgresql://ares@127.0.0.1:1/none", min_size=0, max_size=1) as nobody:
        with pytest.raises(DatabaseUnavailable):
            await chunks_of(nobody)
        stream = stream_trace(nobody, TRACE)
        await stream.aclose()  # nothing was begun


async def test_a_trace_of_one_chunk_holds_no_connection_while_it_is_taken(pool: asyncpg.Pool) -> None:
    await insert_many(pool, 50)
    stream = stream_trace(pool, TRACE, chunk_spans=50)
    assert len(spans_of(await anext(stream))) == 50
    assert pool.get_idle_size() == pool.get_size()
    assert [chunk async for chunk in stream] == []


async def test_who_takes_the_chunks_too_slowly_loses_the_stream(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given_back() -> bool:
        return bool(pool.get_idle_size() == pool.get_size())

    monkeypatch.setattr(trace_stream, "WAIT_SECONDS", 0.0)
    await insert_many(pool, 500)
    stream = stream_trace(pool, TRACE, chunk_spans=50)
    await anext(stream)
    assert await eventually(given_back, every=0.01)
    with pytest.raises(QueryTooSlow, match="too slowly"):
        async for _ in stream:
            pass


async def test_slow_takers_of_large_traces_leave_connections_to_others(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four connections is for them. A trace of one chunk passes by; another large one waits for its turn."""
    monkeypatch.setattr(reader, "TURN_SECONDS", 0.0)
    await insert_many(pool, 500)
    slow = stream_trace(pool, TRACE, chunk_spans=50)
    await anext(slow)
    with pytest.raises(DatabaseUnavailable, match="Too many large traces are read already"):
        await chunks_of(pool, chunk_spans=50)
    assert len(spans_of(*await chunks_of(pool))) == 500
    assert (await find_trace(pool, TRACE)) is not None
    monkeypatch.undo()
    waiting = asyncio.create_task(chunks_of(pool, chunk_spans=50))
    await asyncio.sleep(0)
    rest = [chunk async for chunk in slow]
    assert len(spans_of(*rest)) == 450
    assert len(spans_of(*await waiting)) == 500


async def test_an_error_of_the_database_is_told_between_chunks(pool: asyncpg.Pool, sql: asyncpg.Connection) -> None:
    await insert_many(pool, 5_000)
    stream = stream_trace(pool, TRACE, chunk_spans=50)
    await anext(stream)
    await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )
    with pytest.raises(DatabaseUnavailable):
        async for _ in stream:
            pass
