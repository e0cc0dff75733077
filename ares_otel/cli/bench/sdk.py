"""What an instrumented call and an instrumented request cost their application: without SDK, with SDK and no exporter,
with the stock OTLP exporters to Ares, with Ares's own into PostgreSQL, and with nobody there."""

from __future__ import annotations

import asyncio
import json
import sys
from statistics import median, quantiles
from typing import Any

import asyncpg

from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import Running, environment
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.sdk_away import NAMES as AWAY
from ares_otel.cli.bench.sdk_calls import NAMES, SERVICE

_COUNTS = {
    "service_spans": "SELECT count(*) FROM service_spans WHERE service_name = $1",
    "service_logs": "SELECT count(*) FROM service_logs WHERE service_name = $1",
}


async def measure_sdk(report: Report, running: Running, *, calls: int, rounds: int) -> None:
    """In a process of its own, the kinds in turns.

    Raises:
        BenchError: not all that was exported arrived: then its cost says nothing.
    """
    doors = (running.otlp_grpc, running.otlp_http, running.database)
    found = await _run("sdk_calls", *doors, str(calls), str(rounds))
    requests = max(1, calls // 4)
    await _check(running.database, spans=rounds * (calls + 2 * requests), logs=rounds * 2 * requests)
    for what in ("call", "request"):
        wall = {name: median(rounds) for name, rounds in found[what]["wall"].items()}
        cpu = {name: median(rounds) for name, rounds in found[what]["cpu"].items()}
        for name in wall:
            figure = f"{wall[name]:.2f} / {cpu[name]:.2f} µs"
            report.add(Row(f"one {what}, {NAMES[name]}: time that the caller waits / processor time", figure))
        if what == "call":
            report.ratio("time of a call with the stock OTLP exporter ÷ without exporter", wall["grpc"] / wall["sdk"])
            report.ratio("processor time of the same", cpu["grpc"] / cpu["sdk"])
        for stock in ("grpc", "http"):
            beside = f"of a {what}, direct ÷ stock OTLP/{'gRPC' if stock == 'grpc' else 'HTTP'}"
            report.ratio(f"processor time {beside}", cpu["direct"] / cpu[stock], goal="≤ 1.0")
            report.ratio(f"caller's time {beside}", wall["direct"] / wall[stock], goal="≤ 1.0")
            own = (cpu["direct"] - cpu["discard"]) / (cpu[stock] - cpu["discard"])
            report.ratio(f"processor time of the exporters alone {beside}", own)


async def measure_away(report: Report, *, requests: int, rounds: int) -> None:
    """The latency of requests while nobody takes their telemetry."""
    found = await _run("sdk_away", str(requests), str(rounds))
    cuts = {kind: quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99 for kind, seconds in found.items()}
    for kind, name in AWAY.items():
        p50, p99 = (cuts[kind][cut - 1] * 1e6 for cut in (50, 99))
        report.add(Row(f"latency of a request, {name}: p50 / p99", f"{p50:.1f} / {p99:.1f} µs"))
    for kind in ("refused", "silent"):
        for cut in (50, 99):
            value = cuts[kind][cut - 1] / cuts["discard"][cut - 1]
            report.ratio(f"p{cut}: {AWAY[kind]} ÷ one that discards", value, goal="1.0")


async def _run(module: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"ares_otel.cli.bench.{module}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=environment({"GRPC_VERBOSITY": "NONE"}),
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise BenchError("The process that makes the calls has failed; see the lines above.")
    return json.loads(out)


async def _check(database: str, *, spans: int, logs: int) -> None:
    connection = await asyncpg.connect(database)
    try:
        for kind in ("grpc", "http", "direct"):
            for (table, count), expected in zip(_COUNTS.items(), (spans, logs), strict=True):
                stored = await connection.fetchval(count, f"{SERVICE}-{kind}")
                if stored != expected:
                    raise BenchError(f"{expected} rows of {table} were exported by {kind}, but {stored} are stored.")
    finally:
        await connection.close()
