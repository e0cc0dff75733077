"""What sealing, archiving and dropping a partition cost, and whom they hold up: `python -m benchmarks.partitions`.

Takes the number of rows. Uses a server of its own, without durability, and needs the extra `parquet`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import asyncpg

from ares_otel.query.partitions import Partitions
from ares_otel.storage.partitions import Partition, list_partitions
from ares_otel.storage.partitions.archive import archive
from ares_otel.storage.partitions.seal import Sealer
from ares_otel.storage.partitions.settings import RetentionSettings, SealSettings
from ares_otel.storage.rows.encoded import PARTITIONED
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, trace_request
from tests.support.partitions import Counting, Keeper, make_partition
from tests.support.postgres import copied_database, shared_server
from tests.support.stored_rows import now

DAYS = 90

_FILL = """
INSERT INTO {name} (trace_id, span_id, service_name, operation_name, kind, start_time, duration_ms, duration_ns,
                    attributes)
SELECT gen_random_uuid(), decode(lpad(to_hex(g), 16, '0'), 'hex'), 'service ' || g % 20, 'GET /orders/' || g % 50,
       'server', $1::timestamptz + g * interval '10 ms', 1.5, 1500000,
       jsonb_build_object('http.request.method', 'GET', 'http.route', '/orders/' || g % 50,
                          'http.response.status_code', 200, 'order.id', g, 'server.address', 'shop-' || g % 7)
FROM generate_series(1, $2::integer) g
"""


async def fill(sql: asyncpg.Connection, partition: Partition, rows: int) -> None:
    await sql.execute(_FILL.format(name=partition.name), partition.start, rows, timeout=600)


class Watch:
    """The peak of this process's memory, MB, and the longest that its event loop stood still, ms."""

    def __init__(self) -> None:
        self.peak = self.rss()
        self.longest = 0.0

    @staticmethod
    def rss() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.002)
            passed = time.monotonic()
            self.longest = max(self.longest, (passed - last) * 1000)
            self.peak = max(self.peak, self.rss())
            last = passed


async def timed(times: list[float], work: Callable[[], Awaitable[object]], enough: asyncio.Event) -> None:
    """Does the work again and again; milliseconds of each."""
    while not enough.is_set():
        started = time.monotonic()
        await work()
        times.append((time.monotonic() - started) * 1000)


def shown(times: list[float]) -> str:
    return f"median {statistics.median(times):.1f} ms, longest {max(times):.0f} ms ({len(times)})" if times else "none"


async def archiving(sql: asyncpg.Connection, partition: Partition) -> None:
    watch = Watch()
    before = watch.peak
    watching = asyncio.create_task(watch.run())
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = await archive(sql, partition, Path(folder))
        seconds = time.monotonic() - started
    watching.cancel()
    print(
        f"archive: {done.rows / seconds:,.0f} rows/s, file {done.size / 1e6:.0f} MB; memory {before:.0f} → "
        f"{watch.peak:.0f} MB; the event loop stood still {watch.longest:.0f} ms at most"
    )


async def sealing(sql: asyncpg.Connection, partition: Partition, rows: int) -> None:
    settings = SealSettings(grace_hours=0, pause_seconds=0)
    started = time.monotonic()
    await Sealer(sql, lambda: settings, now(), observer=Counting()).seal(partition)
    print(f"seal: {rows / (time.monotonic() - started):,.0f} rows/s")


async def dropping(url: str, sql: asyncpg.Connection, rows: int) -> None:
    """Drops a partition under ingest and reads."""
    old = await make_partition(sql, "service_spans", 40)
    await fill(sql, old, rows)
    store = Store(url)
    await store.start()
    reader = await asyncpg.connect(url)
    trace = UUID(int=1)
    inserts: list[float] = []
    reads: list[float] = []
    enough = asyncio.Event()
    tasks = [
        *(
            asyncio.create_task(timed(inserts, lambda: store.consume(batch_of(trace_request(spans=20))), enough))
            for _ in range(4)
        ),
        asyncio.create_task(
            timed(reads, lambda: reader.fetch("SELECT * FROM service_spans WHERE trace_id = $1", trace), enough)
        ),
    ]
    for what in ("before", "meanwhile"):
        inserts.clear()
        reads.clear()
        if what == "before":
            await asyncio.sleep(5)
        else:
            await Keeper(url, RetentionSettings()).run()
        print(f"{what}: insert {shown(inserts)}; read {shown(reads)}")
    enough.set()
    await asyncio.gather(*tasks)
    await store.stop()
    await reader.close()


async def looking(url: str, sql: asyncpg.Connection) -> None:
    for days_ago in range(3, DAYS):
        for table in PARTITIONED:
            with suppress(asyncpg.PostgresError):  # it may be there
                await make_partition(sql, table, days_ago)
    found = len(await list_partitions(sql))
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        started = time.monotonic()
        await Partitions(pool).find()
        print(f"{found} partitions: listed in {(time.monotonic() - started) * 1000:.0f} ms", end="; ")
    keeper = Keeper(url, RetentionSettings(days=0))
    started = time.monotonic()
    await keeper.run()
    print(f"a run with nothing to do {(time.monotonic() - started) * 1000:.0f} ms")


async def main(url: str, rows: int) -> None:
    sql = await asyncpg.connect(url)
    partition = await make_partition(sql, "service_spans", 3)
    await fill(sql, partition, rows)
    await archiving(sql, partition)
    await sealing(sql, partition, rows)
    await dropping(url, sql, rows // 4)
    await looking(url, sql)


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(main(database, int(sys.argv[1]) if len(sys.argv) > 1 else 500_000))
