"""Appends to a spool against plain write + fdatasync of the same bytes: `python -m benchmarks.spool [DIRECTORY]`."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from ares_otel.model.signal import TRACES
from ares_otel.storage.spool.format import HEAD_BYTES
from ares_otel.storage.spool.index import Index, Place, Segment, Told
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import MAX_RECORDS, Spool

REQUESTS = 800
ROUNDS = 5
SIZES = (4_096, 65_536)
SENDERS = (1, 16)


def _records(size: int) -> list[SpoolRecord]:
    return [
        SpoolRecord(os.urandom(16), TRACES, 0, number, "otlp", "grpc", "otlp", 8, 0, "", os.urandom(size))
        for number in range(REQUESTS)
    ]


def _plain(directory: Path, records: list[SpoolRecord]) -> float:
    """Seconds to write and sync one after the other."""
    descriptor = os.open(directory / "plain", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    began = time.perf_counter()
    for record in records:
        os.write(descriptor, bytes(HEAD_BYTES) + record.payload)
        os.fdatasync(descriptor)
    seconds = time.perf_counter() - began
    os.close(descriptor)
    return seconds


async def _spool(directory: Path, records: list[SpoolRecord], senders: int) -> float:
    """Seconds to append with so many senders, each waiting for its answer."""
    spool = Spool(directory, limit_bytes=1 << 40)
    spool.open()
    rest = iter(records)

    async def sender() -> None:
        for record in rest:
            await spool.append(record)

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    seconds = time.perf_counter() - began
    spool.done(await spool.read(TRACES, max_records=1 << 30, max_bytes=1 << 40))
    spool.close()
    return seconds


def _memory() -> float:
    """Bytes of memory for a request that waits."""
    index = Index()
    segment = Segment(TRACES, 1, Path("1.seg"), sealed=False)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    count = MAX_RECORDS // 10
    for number in range(count):
        place = Place(segment, 1_000 + number * 500, 500, os.urandom(16), time.time_ns(), Told(300, 0, ""))
        index.add(segment, 1_000 + number * 500, [place])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / count


def main() -> None:
    """Prints a line for each size and number of senders; a ratio is the median of the rounds' ratios."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="ares-spool-", dir=where) as folder:
        root = Path(folder)
        for size in SIZES:
            for senders in SENDERS:
                rates: list[float] = []
                ratios: list[float] = []
                for number in range(ROUNDS + 1):  # the first warms up
                    records = _records(size)
                    plain = _plain(root, records)
                    spool = asyncio.run(_spool(root / "spool", records, senders))
                    if number:
                        rates.append(REQUESTS / spool)
                        ratios.append(plain / spool)
                rate = statistics.median(rates)
                print(
                    f"{size:>6} bytes, {senders:>2} senders: {rate:>8,.0f} requests/s, {rate * size / 1e6:>7.1f} MB/s, "
                    f"{statistics.median(ratios):.2f} × plain write + fdatasync"
                )
    print(f"memory: {_memory():.0f} bytes for each request that waits, {_memory() * MAX_RECORDS / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
