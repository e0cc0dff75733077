"""What receipts cost: the same requests stored with and without them, in turns: `python -m benchmarks.receipts`."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import asyncpg

from ares_otel.cli.bench.data.requests import Source
from ares_otel.cli.bench.process import running_ares
from ares_otel.model.batch import Batch
from ares_otel.model.signal import TRACES
from ares_otel.storage.rows.pieces import piece
from ares_otel.storage.store import Store
from ares_otel.storage.writer import Writer

ROUNDS = 7
SENDERS = 4


async def rate(url: str, bodies: list[bytes], *, with_receipts: bool) -> float:
    """Requests a second from OTLP bytes to committed rows, with four senders in this process."""
    store = Store(url)
    store.writer = Writer(store.connect, with_receipts=with_receipts)
    await store.start()
    waiting = list(bodies)

    async def send() -> None:
        while waiting:
            batch = Batch(TRACES, waiting.pop(), received_ns=time.time_ns(), receiver="bench", transport="none")
            await store.consume(batch)

    await store.consume(Batch(TRACES, waiting.pop(), received_ns=time.time_ns(), receiver="bench", transport="none"))
    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(SENDERS)))
    seconds = time.perf_counter() - started
    await store.stop()
    return len(bodies) / seconds


def single_spans(bodies: list[bytes], count: int) -> list[bytes]:
    """Requests of one span each: the worst case, a receipt for every row."""
    singles: list[bytes] = []
    for body in bodies:
        request = TRACES.request()
        request.ParseFromString(body)
        spans = TRACES.count(request)
        singles += [piece(TRACES, request, number, number + 1).SerializeToString() for number in range(spans)]
    return singles[:count]


async def main() -> None:
    """Prints rates, and the median of the rounds' ratios."""
    async with running_ares(None) as running:
        url = running.doors["database"]
        for name, spans in (("many spans", 512), ("1 span", 1)):
            with_, without, ratios = [], [], []
            for number in range(ROUNDS + 1):  # round 0 warms caches and is not counted
                bodies = []
                for part in range(2):
                    wanted = 100 if spans > 1 else 40
                    source = Source(1000 * spans + 2 * number + part, wanted)
                    made = source.requests(TRACES, wanted, now_ns=time.time_ns(), batch=512).bodies
                    bodies.append(made if spans > 1 else single_spans(made, 4000))
                turns = [(True, bodies[0]), (False, bodies[1])]
                results = {}
                for with_receipts, mine in turns if number % 2 else turns[::-1]:
                    results[with_receipts] = await rate(url, mine, with_receipts=with_receipts)
                if number:
                    with_.append(results[True])
                    without.append(results[False])
                    ratios.append(results[True] / results[False])
            print(
                f"requests of {name}: {median(with_):,.0f} a second with receipts, {median(without):,.0f} without, "
                f"ratio {median(ratios):.3f} (median of {ROUNDS} rounds)"
            )
        connection = await asyncpg.connect(url)
        size = await connection.fetchval("SELECT pg_total_relation_size('ingest_receipts')")
        count = await connection.fetchval("SELECT count(*) FROM ingest_receipts")
        await connection.close()
        print(f"a receipt takes {size / count:.0f} bytes with its indexes")


if __name__ == "__main__":
    asyncio.run(main())
