"""What reads cost over thirty days of ten-minute partitions: `python -m benchmarks.many_partitions [PARTITIONS]`.

Uses a server of its own, without durability. Making 4,320 partitions of two tables takes minutes.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from ares_otel.query.instant import Instant
from ares_otel.query.logs import LogFilter, find_logs
from ares_otel.query.reader import QueryTooSlow
from ares_otel.query.spans import AttributeValue, SpanFilter, find_spans
from ares_otel.query.traces import find_trace
from ares_otel.storage.partitions import list_partitions
from ares_otel.storage.partitions.attach import attach
from ares_otel.storage.partitions.lengths import LENGTHS, aligned, name_for
from ares_otel.storage.rows.encoded import LOGS, SPANS
from tests.support.postgres import copied_database, shared_server
from tests.support.stored_rows import insert_log, insert_span

SHORTEST = LENGTHS[-1]
READ_SETTINGS = {"plan_cache_mode": "force_custom_plan"}
NEW, OLD, NONE = UUID(int=1), UUID(int=2), UUID(int=3)
AT_ONCE = 12


async def prepare(url: str, count: int) -> None:
    """So many partitions of spans and logs up to now, and a trace now and one in the oldest day."""
    sql = await asyncpg.connect(url)
    for partition in await list_partitions(sql):
        if partition.table in (SPANS, LOGS):
            await sql.execute(f"DROP TABLE {partition.name}")
    last = aligned(datetime.now(UTC), SHORTEST) + 6 * SHORTEST
    for table in (SPANS, LOGS):
        for first in range(0, count, 50):
            async with sql.transaction():
                for number in range(first, min(count, first + 50)):
                    start = last - number * SHORTEST
                    await attach(sql, table, name_for(table, start, SHORTEST), start, start + SHORTEST)
    now = datetime.now(UTC)
    for trace, at in ((NEW, now - timedelta(minutes=5)), (OLD, now - (count - 20) * SHORTEST)):
        for number in range(20):
            await insert_span(sql, number, trace_id=trace, start_time=at, attributes={"order.id": trace.int})
            await insert_log(sql, trace_id=trace, timestamp=at)
    await sql.close()


async def timed(name: str, work: Callable[[], Awaitable[object]], rounds: int = 5) -> None:
    times = []
    for _ in range(rounds):
        started = time.monotonic()
        try:
            await work()
        except QueryTooSlow as error:
            print(f"{name}: {error}")
            return
        times.append((time.monotonic() - started) * 1000)
    print(f"{name}: first {times[0]:,.1f} ms, then median {statistics.median(times[1:]):,.1f} ms", flush=True)


async def measure(url: str, count: int) -> None:
    now = datetime.now(UTC)
    old = Instant(now - (count - 20) * SHORTEST)
    around = {"start": Instant(old.time - timedelta(hours=1)), "end": Instant(old.time + timedelta(hours=1))}
    async with asyncpg.create_pool(url, min_size=1, max_size=8, server_settings=READ_SETTINGS) as pool:
        print(f"{count} partitions of each table, one connection after the other's first use")
        await timed("one statement over everything", lambda: _whole(pool))
        await timed("trace of the last hour", lambda: find_trace(pool, NEW))
        await timed("the oldest trace", lambda: find_trace(pool, OLD))
        await timed("the oldest trace, with from and to", lambda: find_trace(pool, OLD, **around))
        await timed("no such trace", lambda: find_trace(pool, NONE))
        await timed("newest logs of a service", lambda: find_logs(pool, LogFilter("orders"), limit=20))
        attribute = SpanFilter(attributes=[AttributeValue("order.id", "2")])
        await timed("attribute of the oldest trace", lambda: find_spans(pool, attribute, limit=20))
        started = time.monotonic()
        locks = asyncio.create_task(_most_locks(url))
        answers = await asyncio.gather(*(find_trace(pool, NONE) for _ in range(AT_ONCE)), return_exceptions=True)
        took = time.monotonic() - started
        locks.cancel()
        await asyncio.wait([locks])
        busy = sum(isinstance(answer, Exception) for answer in answers)
        print(
            f"{AT_ONCE} lookups of no such trace at once over 8 connections: {took:.1f} s, {busy} told to come back; "
            f"at most {_seen['locks']:,} locks"
        )
        memory = await pool.fetchval("SELECT sum(total_bytes) FROM pg_backend_memory_contexts")
        print(f"memory of such a connection: {float(memory) / 1e6:.0f} MB")


async def _whole(pool: asyncpg.Pool) -> object:
    return await pool.fetch("SELECT * FROM service_spans WHERE trace_id = $1", NONE)


_seen = {"locks": 0}


async def _most_locks(url: str) -> None:
    sql = await asyncpg.connect(url)
    while True:
        _seen["locks"] = max(_seen["locks"], await sql.fetchval("SELECT count(*) FROM pg_locks"))
        await asyncio.sleep(0.05)


async def main(url: str, count: int) -> None:
    await prepare(url, count)
    await measure(url, count)


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(main(database, int(sys.argv[1]) if len(sys.argv) > 1 else 4320))
