"""One function a command: starts what is needed, measures, and adds lines to the report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ares_otel.cli.bench import implementation as implementations
from ares_otel.cli.bench.doors import measure_doors
from ares_otel.cli.bench.fill import Filled, fill, pause_sealing, prepare_partitions
from ares_otel.cli.bench.implementation import Implementation
from ares_otel.cli.bench.ingest import Load, bench_of, report_floor, report_ingest, run_rounds
from ares_otel.cli.bench.latency import measure_latency
from ares_otel.cli.bench.process import Running, new_data_dir, running_ares
from ares_otel.cli.bench.process_costs import measure_idle, measure_start
from ares_otel.cli.bench.query import Answers, ask_all, report_answers
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.sdk import measure_away, measure_sdk
from ares_otel.cli.bench.storage import measure_storage
from ares_otel.model.signal import SIGNALS


async def floor(
    report: Report, database_url: str | None, signals: Sequence[str], requests: int, rounds: int, connections: int
) -> None:
    async with running_ares(database_url) as running, bench_of(running) as bench:
        await report.name_server(running.database)
        for name in signals:
            load = Load(SIGNALS[name], requests, connections)
            report_floor(report, load, await run_rounds(bench, load, rounds, ingest=False), rounds)


async def ingest(
    report: Report,
    database_url: str | None,
    signals: Sequence[str],
    requests: int,
    rounds: int,
    senders: Sequence[int],
    protocol: str,
    implementation: Implementation,
    workers: int,
    batch: int,
) -> None:
    for encoder in implementations.chosen(implementation):
        async with (
            running_ares(database_url, implementation=encoder, workers=workers) as running,
            bench_of(running) as bench,
        ):
            await report.name_server(running.database)
            for name in signals:
                for count in senders:
                    load = Load(SIGNALS[name], requests, count, protocol, workers, batch=batch)
                    figures = await run_rounds(bench, load, rounds)
                    report_ingest(report, load, figures, rounds, encoder)


async def latency(
    report: Report,
    database_url: str | None,
    requests: int,
    seconds: float,
    protocol: str,
    implementation: Implementation,
    workers: int,
) -> None:
    encoder = implementations.chosen_one(implementation)
    async with (
        running_ares(database_url, implementation=encoder, workers=workers) as running,
        bench_of(running) as bench,
    ):
        await report.name_server(running.database)
        await measure_latency(report, bench, protocol=protocol, requests=requests, seconds=seconds)


async def query(
    report: Report, database_url: str | None, sizes: Sequence[int], hours: int, implementation: Implementation
) -> None:
    encoder = implementations.chosen_one(implementation)
    base: Answers = {}
    base_spans = 0
    for spans in sorted(sizes):
        async with _filled_ares(database_url, spans, hours, encoder) as (running, filled):
            await report.name_server(running.database)
            report.add(Row("what is asked", str(filled)))
            answers = await ask_all(running)
            report_answers(report, filled.spans, answers, base, base_spans)
            await measure_doors(report, running, filled.spans, hours)
            if not base:
                base, base_spans = answers, filled.spans


@asynccontextmanager
async def _filled_ares(
    database_url: str | None, spans: int, hours: int, encoder: str
) -> AsyncIterator[tuple[Running, Filled]]:
    """A running Ares whose database holds so many spans more."""
    with new_data_dir() as data_dir:
        async with running_ares(database_url, implementation=encoder, data_dir=data_dir) as running:
            await pause_sealing(running.database)
            if not await prepare_partitions(running.database, hours):
                yield running, await fill(running, spans, hours)
                return
        # A start looks at the partitions at once, and they are somebody else's.
        async with running_ares(database_url, implementation=encoder, data_dir=data_dir) as running:
            yield running, await fill(running, spans, hours)


async def storage(report: Report, database_url: str | None, spans: int, implementation: Implementation) -> None:
    encoder = implementations.chosen_one(implementation)
    async with running_ares(database_url, implementation=encoder) as running:
        await report.name_server(running.database)
        await measure_storage(report, running, spans)


async def idle(report: Report, database_url: str | None, settle: float, seconds: float) -> None:
    async with running_ares(database_url) as running:
        await report.name_server(running.database)
        await measure_idle(report, running, settle=settle, seconds=seconds)


async def start(report: Report, database_url: str | None, rounds: int) -> None:
    await measure_start(report, database_url, rounds, None)


async def sdk(report: Report, database_url: str | None, calls: int, rounds: int) -> None:
    async with running_ares(database_url) as running:
        await report.name_server(running.database)
        await measure_sdk(report, running, calls=calls, rounds=rounds)
    # Many short rounds: what else the machine does must not fall upon one kind.
    await measure_away(report, requests=max(1, calls // 40), rounds=4 * rounds)


async def everything(report: Report, database_url: str | None) -> None:
    """The short set: each benchmark, small."""
    auto = Implementation.AUTO
    await ingest(report, database_url, ["traces", "logs", "metrics"], 60, 3, [4], "grpc", auto, 1, 0)
    await latency(report, database_url, 100, 8, "grpc", auto, 1)
    await query(report, database_url, [20_000, 100_000], 48, auto)
    await storage(report, database_url, 50_000, auto)
    await idle(report, database_url, 10, 20)
    await start(report, database_url, 2)
    await sdk(report, database_url, 5_000, 3)
