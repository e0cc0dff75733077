"""What a started Ares costs while nobody wants anything, and how long a start takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median

import asyncpg
import psutil

from ares_otel.cli.bench.cpu import Meter, tree
from ares_otel.cli.bench.data import Source
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import Running, new_data_dir, running_ares
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.senders import GrpcConnection
from ares_otel.model.signal import TRACES

MIB = 1024 * 1024


async def measure_idle(report: Report, running: Running, *, settle: float, seconds: float) -> None:
    """Processor time and memory of the whole tree, PostgreSQL with it. `settle`: seconds after the start."""
    connection = await asyncpg.connect(running.database)
    meter = await Meter.of(running.pid, connection)
    await connection.close()
    await asyncio.sleep(settle)
    ares, postgres = meter.ares_seconds(), meter.postgres_seconds()
    await asyncio.sleep(seconds)
    ares, after = meter.ares_seconds() - ares, meter.postgres_seconds()
    database = (after or 0.0) - (postgres or 0.0)
    share = (ares + database) / seconds
    report.add(
        Row(
            f"processor time of an idle Ares over {seconds:.0f} s, of one core",
            f"{100 * share:.2f} % (Ares {100 * ares / seconds:.2f} %, PostgreSQL {100 * database / seconds:.2f} %)",
            goal="≤ 1 %",
        )
    )
    processes = {process.pid: process for process in meter.ares_tree()}
    if meter.postmaster is not None:
        processes |= {process.pid: process for process in tree(meter.postmaster)}
    shared, resident = _memory(processes.values())
    report.add(
        Row(
            f"memory of its {len(processes)} processes: pages that several share divided among them / counted in each",
            f"{shared / MIB:.0f} / {resident / MIB:.0f} MB",
            goal="≤ 300 MB",
        )
    )
    report.ratio("processor seconds of an idle Ares ÷ seconds", share, digits=4, goal="≤ 0.01")


def _memory(processes: Iterable[psutil.Process]) -> tuple[int, int]:
    """Proportional and resident set, bytes."""
    shared = resident = 0
    for process in processes:
        with suppress(psutil.Error):
            info = process.memory_full_info()
            shared += info.pss
            resident += info.rss
    return shared, resident


async def measure_start(report: Report, database_url: str | None, rounds: int, encoder: str | None) -> None:
    """From the command to the answer to a first span, on a new data directory and then on the same one again."""
    body = Source(1, 1).requests(TRACES, 1, now_ns=time.time_ns()).bodies[0]
    with new_data_dir() as data_dir:
        first = await _start(database_url, data_dir, body, encoder, report)
        again = median([await _start(database_url, data_dir, body, encoder, report) for _ in range(rounds)])
    report.add(Row("command to first accepted spans, new data directory", f"{first:.2f} s"))
    report.add(
        Row(
            f"command to first accepted spans, initialised data directory, median of {rounds}",
            f"{again:.2f} s",
            goal="≤ 5 s",
        )
    )
    report.ratio("start on an initialised data directory ÷ on a new one", again / first)


async def _start(database_url: str | None, data_dir: Path, body: bytes, encoder: str | None, report: Report) -> float:
    started = time.perf_counter()
    async with running_ares(database_url, implementation=encoder, data_dir=data_dir) as running:
        connection = GrpcConnection(running.otlp_grpc, TRACES)
        if not await connection.send(body):
            raise BenchError("Ares said that it is ready, and refused the first request.")
        seconds = time.perf_counter() - started
        await connection.close()
        await report.name_server(running.database)
    return seconds
