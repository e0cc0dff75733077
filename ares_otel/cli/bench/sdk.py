"""What an instrumented call costs its application: without SDK, with SDK and no exporter, with the stock OTLP exporter
to Ares."""

from __future__ import annotations

import asyncio
import json
import sys
from statistics import median

import asyncpg

from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import Running, environment
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.sdk_calls import NAMES, SERVICE


async def measure_sdk(report: Report, running: Running, *, calls: int, rounds: int) -> None:
    """In a process of its own, the kinds of call in turns.

    Raises:
        BenchError: not every span of the exporter arrived: then its cost says nothing.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ares_otel.cli.bench.sdk_calls",
        running.otlp_grpc,
        str(calls),
        str(rounds),
        stdout=asyncio.subprocess.PIPE,
        env=environment({"GRPC_VERBOSITY": "ERROR"}),
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise BenchError("The process that makes the calls has failed; see the lines above.")
    found = json.loads(out)
    connection = await asyncpg.connect(running.database)
    stored = await connection.fetchval("SELECT count(*) FROM service_spans WHERE service_name = $1", SERVICE)
    await connection.close()
    if stored != calls * rounds:
        raise BenchError(f"{calls * rounds} spans were exported, but {stored} are stored.")
    wall = {name: median(found["wall"][name]) for name in NAMES}
    cpu = {name: median(found["cpu"][name]) for name in NAMES}
    for name, what in NAMES.items():
        report.add(
            Row(
                f"one call, {what}: time that the caller waits / processor time",
                f"{wall[name]:.2f} / {cpu[name]:.2f} µs",
            )
        )
    report.ratio("time of a call with the stock OTLP exporter ÷ without exporter", wall["otlp"] / wall["sdk"])
    report.ratio("processor time of the same", cpu["otlp"] / cpu["sdk"])
