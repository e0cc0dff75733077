"""Ingest: requests of one signal into a running Ares, counted as committed rows, in turns with the floor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import asyncpg

from ares_otel.cli import console
from ares_otel.cli.bench.cpu import Meter
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.report import Report, Row
from ares_otel.cli.bench.worker import Worker, worker
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

SET_SIZE = 64
"""Requests that are built; all others are these with other ids and times."""
METRIC_REQUESTS = 4
"""So many times as many requests of metrics as of spans: one holds about 150 points, as an instance exports them."""
SETS_A_ROUND = 100_000
"""Distance between the sets of two rounds: no two rounds have an id in common."""
_COUNTS = {
    TRACES: "SELECT count(*) FROM service_spans WHERE service_name <> 'ares-api'",
    LOGS: "SELECT count(*) FROM service_logs WHERE service_name <> 'ares-api'",
    METRICS: "SELECT (SELECT count(*) FROM metric_samples) + (SELECT count(*) FROM metric_distributions)",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent in each round."""

    signal: Signal
    requests: int
    """Of 512 items; of metrics `METRIC_REQUESTS` times as many smaller ones."""
    senders: int
    protocol: str = "grpc"
    workers: int = 1
    """Of Ares, for the text."""
    seed: int = 1
    set_size: int = SET_SIZE
    batch: int = 0
    """Items of requests that are joined; 0 leaves them as SDKs send them."""

    def job(self, kind: str, number: int, **more: Any) -> dict[str, Any]:
        """What a worker is told for round `number`; the two kinds of work get requests with other ids."""
        first = (2 * number + (kind == "copy")) * SETS_A_ROUND
        requests = self.requests * (METRIC_REQUESTS if self.signal is METRICS else 1)
        return {
            "kind": kind,
            "signal": self.signal.name,
            "requests": requests,
            "seed": self.seed,
            "set_size": min(self.set_size, requests),
            "first": first,
            "batch": self.batch,
            **more,
        }


@dataclass(slots=True)
class Figures:
    """What the rounds gave."""

    items: int = 0
    floors: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    refused: int = 0
    senders_cpu: float = 0.0
    ares_cpu: float = 0.0
    postgres_cpu: float | None = 0.0
    floor_postgres_cpu: float | None = 0.0
    floor_copier_cpu: float = 0.0

    @property
    def ratio(self) -> float:
        return median(rate / floor for rate, floor in zip(self.rates, self.floors, strict=True))


class Bench:
    """A running Ares with a process that sends and one that copies."""

    def __init__(
        self, running: Running, sender: Worker, copier: Worker, meter: Meter, look: asyncpg.Connection
    ) -> None:
        self.running = running
        self.sender = sender
        self.copier = copier
        self.meter = meter
        self.look = look

    def target(self, protocol: str) -> str:
        return self.running.otlp_grpc if protocol == "grpc" else self.running.otlp_http

    async def count(self, signal: Signal) -> int:
        """Committed items, without Ares's own."""
        count: int = await self.look.fetchval(_COUNTS[signal])
        return count

    async def send(self, load: Load, number: int) -> dict[str, Any]:
        """Sends a round and makes sure that it was stored. Raises BenchError when it was not."""
        before = await self.count(load.signal)
        job = load.job("send", number, senders=load.senders, protocol=load.protocol, target=self.target(load.protocol))
        await self.sender.prepare(**job)
        ares, postgres = self.meter.ares_seconds(), self.meter.postgres_seconds()
        sent = await self.sender.run()
        sent["ares_cpu"] = self.meter.ares_seconds() - ares
        sent["postgres_cpu"] = _difference(self.meter.postgres_seconds(), postgres)
        grown = await self.count(load.signal) - before
        if grown != sent["items"]:
            raise BenchError(f"{sent['items']} items were acknowledged, but the tables grew by {grown}.")
        return sent

    async def copy(self, load: Load, number: int) -> dict[str, Any]:
        """Copies a round's rows."""
        await self.copier.prepare(**load.job("copy", number, url=self.running.database, connections=load.senders))
        postgres = self.meter.postgres_seconds()
        copied = await self.copier.run()
        copied["postgres_cpu"] = _difference(self.meter.postgres_seconds(), postgres)
        return copied


@asynccontextmanager
async def bench_of(running: Running) -> AsyncIterator[Bench]:
    """The processes for a running Ares."""
    async with worker() as sender, worker() as copier:
        look = await asyncpg.connect(running.database)
        try:
            yield Bench(running, sender, copier, await Meter.of(running.pid, look), look)
        finally:
            await look.close()


async def run_rounds(bench: Bench, load: Load, rounds: int, *, ingest: bool = True) -> Figures:
    """Floor and ingest in turns. Round 0 warms caches and is not counted."""
    figures = Figures()
    for number in range(rounds + 1):
        copied = await bench.copy(load, number)
        sent = await bench.send(load, number) if ingest else None
        if not number:
            continue
        floor = copied["items"] / copied["seconds"]
        figures.floors.append(floor)
        figures.floor_postgres_cpu = _sum(figures.floor_postgres_cpu, copied["postgres_cpu"])
        figures.floor_copier_cpu += copied["cpu_seconds"]
        figures.items += copied["items"]
        line = f"round {number}: floor {floor:,.0f} rows/s"
        if sent is not None:
            rate = sent["items"] / sent["seconds"]
            figures.rates.append(rate)
            figures.refused += sent["refused"]
            figures.senders_cpu += sent["cpu_seconds"]
            figures.ares_cpu += sent["ares_cpu"]
            figures.postgres_cpu = _sum(figures.postgres_cpu, sent["postgres_cpu"])
            line += f", ingest {rate:,.0f} {load.signal.items}/s, ratio {rate / floor:.3f}"
        console.progress(line)
    return figures


def report_floor(report: Report, load: Load, figures: Figures, rounds: int) -> None:
    each = f"{load.signal.items}, median of {rounds} rounds of {figures.items // rounds:,}"
    report.add(
        Row(f"floor: binary COPY of ready-made rows of {each}, {load.senders} connections", _rate(figures.floors))
    )


def report_ingest(report: Report, load: Load, figures: Figures, rounds: int, encoder: str) -> None:
    """The lines of a run: rates, their ratio, and whose processor time it took."""
    report_floor(report, load, figures, rounds)
    how = f"{load.senders} {'sender' if load.senders == 1 else 'senders'} over {load.protocol}, {encoder} encoder"
    if load.batch:
        how += f", {load.batch:,} in a request"
    if load.workers > 1:
        how += f", {load.workers} workers"
    report.add(Row(f"ingest of {load.signal.items}, {how}, to committed rows", _rate(figures.rates)))
    if figures.refused:
        report.add(Row("requests that were refused and sent again", str(figures.refused)))
    goal = ("≥ 0.7" if encoder == "native" else "≥ 0.12") if load.senders == 4 else ""
    report.ratio(f"ingest of {load.signal.items} ÷ floor, {how}", figures.ratio, digits=3, goal=goal)
    millions = figures.items / 1e6
    spent = [("senders", figures.senders_cpu), ("Ares", figures.ares_cpu)]
    if figures.postgres_cpu is not None and figures.floor_postgres_cpu is not None:
        spent += [("PostgreSQL", figures.postgres_cpu), ("PostgreSQL for the floor", figures.floor_postgres_cpu)]
    spent.append(("who copied for the floor", figures.floor_copier_cpu))
    text = ", ".join(f"{name} {seconds / millions:.1f}" for name, seconds in spent)
    report.add(Row(f"processor seconds per million {load.signal.items}, {how}", text))
    if figures.postgres_cpu:
        ratio = (figures.senders_cpu + figures.ares_cpu) / figures.postgres_cpu
        report.ratio(
            f"processor time of senders and Ares ÷ PostgreSQL's, {load.signal.items}, {how}", ratio, goal="≤ 0.4"
        )


def _rate(rates: list[float]) -> str:
    return f"{median(rates):,.0f}/s"


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _sum(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right
