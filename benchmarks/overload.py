"""Ten times what the database takes: `python -m benchmarks.overload`.

The database is slowed down (every row of `service_spans` sleeps a millisecond), so that the senders, Ares and
PostgreSQL share one machine and ten times the sustainable rate is still feasible. First the sustainable rate is
measured, with senders that wait for their answers; then several processes offer ten times as much, over gRPC and over
HTTP, whatever they are told. It fails when something that was accepted is missing, or memory passes its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import asyncpg

from benchmarks.overload_sender import Plan, Told

MIB = 1024 * 1024
SLOW = """
CREATE FUNCTION overload_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
CREATE TRIGGER overload_slow BEFORE INSERT ON service_spans FOR EACH ROW EXECUTE FUNCTION overload_slow();
"""
WRITER_MIB = 64
"""Row bytes that may wait for the writer (`QUEUE_BYTES` of storage/writer.py)."""
LARGEST_MIB = 20
WORKERS = 4
"""Bodies that are inflated at once; each has a copy more in memory for a moment."""
BASE_MIB = 160
"""The process itself under load: code, connections, allocator, buffers of PostgreSQL's protocol."""


def bound_mib(admission_limit_mib: int) -> int:
    """The bound of docs/backpressure.md."""
    return BASE_MIB + admission_limit_mib + WRITER_MIB + WORKERS * LARGEST_MIB


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent."""

    spans: int = 250
    span_bytes: int = 2048
    sustain_seconds: float = 15.0
    overload_seconds: float = 30.0
    factor: float = 10.0


@dataclass(slots=True)
class Result:
    """What came of it. Rates in spans a second, memory in MiB, times in seconds."""

    sustainable: float
    offered: int
    offered_rate: float
    accepted: int
    refused: int
    others: Counter[str]
    refusal_median: dict[str, float]
    accepted_rate: float
    peak_rss: float
    missing: int
    doubled: int


async def slow_down(database_url: str, seconds: float) -> None:
    """Makes every row of `service_spans` take so long."""
    connection = await asyncpg.connect(database_url)
    try:
        while True:
            with contextlib.suppress(asyncpg.DeadlockDetectedError):  # with the job that seals partitions
                await connection.execute(SLOW.format(seconds=seconds))
                return
    finally:
        await connection.close()


async def overload(pid: int, otlp_grpc: str, otlp_http: str, database_url: str, load: Load) -> Result:
    """Measures a running Ares.

    Args:
        pid: of the process whose memory is looked at.
        otlp_grpc, otlp_http: host:port of its doors.
    """
    targets = [(otlp_grpc, True), (otlp_http, False)]
    first = await _send([_plan(load, target, grpc, load.sustain_seconds, 0.0) for target, grpc in targets])
    sustainable = sum(len(told.accepted) for told in first) * load.spans / max(told.seconds for told in first)
    rate = load.factor * sustainable / load.spans / 4
    plans = [_plan(load, target, grpc, load.overload_seconds, rate) for target, grpc in targets * 2]
    second = await _send(plans)
    accepted = [trace for told in (*first, *second) for trace in told.accepted]
    missing, doubled = await _compare(database_url, accepted, load.spans)
    offered = sum(told.offered for told in second) * load.spans
    took = sum(len(told.accepted) for told in second) * load.spans
    return Result(
        sustainable=sustainable,
        offered=offered,
        offered_rate=offered / load.overload_seconds,
        accepted=took,
        refused=sum(len(told.refusals) for told in second) * load.spans,
        others=sum((told.others for told in second), Counter()),
        refusal_median={
            name: median([seconds for told, plan in zip(second, plans, strict=True) if plan.grpc == grpc
                          for seconds in told.refusals] or [0.0])
            for name, grpc in (("gRPC", True), ("HTTP", False))
        },
        accepted_rate=took / max(told.seconds for told in second),
        peak_rss=peak_rss(pid),
        missing=missing,
        doubled=doubled,
    )  # fmt: skip


def _plan(load: Load, target: str, grpc: bool, seconds: float, rate: float) -> Plan:
    return Plan(target, grpc, load.spans, load.span_bytes, seconds, rate)


async def _send(plans: list[Plan]) -> list[Told]:
    async def one(plan: Plan) -> Told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.overload_sender", json.dumps(asdict(plan)), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise SystemExit("A sender failed; see the lines above.")
        told = json.loads(said)
        return Told(**{**told, "others": Counter(told["others"])})

    return list(await asyncio.gather(*(one(plan) for plan in plans)))


async def _compare(database_url: str, accepted: list[str], spans: int) -> tuple[int, int]:
    """How many accepted spans are not in the table, and how many are there twice."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT trace_id, count(*) AS rows, count(DISTINCT span_id) AS spans FROM service_spans"
            " WHERE service_name = 'overload' GROUP BY trace_id"
        )
    finally:
        await connection.close()
    stored = {row["trace_id"].hex: int(row["spans"]) for row in rows}
    missing = sum(spans - stored.get(trace, 0) for trace in accepted)
    return missing, sum(int(row["rows"]) - int(row["spans"]) for row in rows)


def peak_rss(pid: int) -> float:
    """The largest resident size that the process ever had, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This system does not say the peak of a process's memory (VmHWM in /proc).")


def show(result: Result, limit_mib: int) -> str:
    """The table of the docs."""
    times = result.offered_rate / result.sustainable
    offered = f"{result.offered:,} spans, {result.offered_rate:,.0f} spans/s, {times:.1f} times the sustainable rate"
    rows = [
        ("sustainable", f"{result.sustainable:,.0f} spans/s"),
        ("offered", offered),
        ("accepted", f"{result.accepted:,} spans, {result.accepted_rate:,.0f} spans/s"),
        ("refused (UNAVAILABLE + RetryInfo, 503 + Retry-After)", f"{result.refused:,} spans"),
        ("any other answer", f"{result.others.total():,} requests {dict(result.others) or ''}".strip()),
        *((f"median time of a refusal, {name}", f"{seconds * 1000:.1f} ms")
          for name, seconds in result.refusal_median.items()),
        ("peak RSS of Ares / bound", f"{result.peak_rss:.0f} MiB / {bound_mib(limit_mib)} MiB"),
        ("accepted and missing / stored twice", f"{result.missing} / {result.doubled}"),
    ]  # fmt: skip
    return "\n".join(["| what | figure |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in rows)])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admission-limit-mib", type=int, default=64)
    parser.add_argument("--row-milliseconds", type=float, default=1.0, help="how long each row takes")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the overload")
    parser.add_argument("--factor", type=float, default=10.0, help="times the sustainable rate")
    given = parser.parse_args()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ares-otel-overload-"))
        process, doors = await _start(folder, given.admission_limit_mib)
        stack.push_async_callback(_stop, process)
        await slow_down(doors["database"], given.row_milliseconds / 1000)
        load = Load(overload_seconds=given.seconds, factor=given.factor)
        grpc, http = (doors[name].rpartition("/")[2] for name in ("otlp-grpc", "otlp-http"))
        result = await overload(process.pid, grpc, http, doors["database"], load)
    print(show(result, given.admission_limit_mib))
    if result.missing or result.doubled or result.peak_rss > bound_mib(given.admission_limit_mib):
        raise SystemExit("FAILED: see the last rows.")


async def _start(folder: str, limit_mib: int) -> tuple[asyncio.subprocess.Process, dict[str, str]]:
    ports = ["--http-port=0", "--otlp-grpc-port=0", "--otlp-http-port=0", "--jaeger-grpc-port=0", "--sampling-port=0"]
    command = ["-m", "ares_otel.cli.main", "up", "--data-dir", folder, *ports, "--admission-limit-mib", str(limit_mib)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    doors: dict[str, str] = {}
    while line := (await process.stdout.readline()).decode().strip():
        if line == "ready":
            return process, doors
        name, _, url = line.partition(" ")
        doors[name] = url
    raise SystemExit("Ares did not start; see the lines above.")


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
