"""Streams and pins behind PgBouncer, where a session is nobody's own."""

from __future__ import annotations

import asyncpg

from ares_otel.query.pinned import pin_trace, unpin_trace
from ares_otel.query.trace_stream import stream_trace
from ares_otel.storage.database import asyncpg_kwargs, check_database
from ares_otel.storage.migrate import migrate
from ares_otel.storage.partitions import ensure_partitions
from tests.support.debian_postgres import debian_server, needs_debian_postgres, needs_pgbouncer, pgbouncer
from tests.support.stored_rows import TRACE
from tests.support.trace_streams import insert_many, names_of

pytestmark = [needs_debian_postgres, needs_pgbouncer]


async def test_a_cursor_stays_with_its_transaction_and_a_pin_with_its_lock() -> None:
    """PostgreSQL 15, statements that are not named, and connections that change hands between transactions."""
    with debian_server() as server, pgbouncer(server) as url:
        sql = await asyncpg.connect(server.url)
        await migrate(sql)
        await ensure_partitions(sql)
        await insert_many(sql, 600)
        options = asyncpg_kwargs(await check_database(url))
        async with asyncpg.create_pool(url, min_size=0, max_size=4, **options) as pool:
            one, other = (stream_trace(pool, TRACE, chunk_spans=50) for _ in range(2))
            first = [await anext(one)]
            await pool.fetchval("SELECT 1")
            first += [chunk async for chunk in one]
            assert names_of(*first) == [f"operation {n}" for n in range(600)]
            await anext(other)
            await other.aclose()
            assert await pin_trace(pool, TRACE, None)
            assert len(names_of(*[chunk async for chunk in stream_trace(pool, TRACE)])) == 600
            assert await unpin_trace(pool, TRACE)
            assert await sql.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        await sql.close()
