"""The job of a sending process that fills a database: one set after the other, made while it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from ares_otel.cli.bench.data import Source
from ares_otel.cli.bench.senders import RETRIES, GrpcConnection
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal

SENDERS = 4
Lanes = dict[Signal, list[GrpcConnection]]
_HOUR_NS = 3_600_000_000_000


class Filling:
    """Sends sets so that their windows, one after the other, end at `end_ns`."""

    def __init__(self, source: Source, sets: int, exports: int, end_ns: int, lanes: Lanes) -> None:
        """
        Args:
            exports: of metrics, of each service within the last hour, however many spans there are.
            lanes: the connections of each signal that is sent.
        """
        self._source = source
        self._sets = sets
        self._exports = exports
        self._end = end_ns
        self._lanes = lanes
        self._sent = {signal.name: 0 for signal in SIGNALS.values()}
        self._bytes = 0
        self._refused = 0

    async def run(self) -> dict[str, Any]:
        requests = self._requests()
        await asyncio.gather(*(self._work(requests, number) for number in range(SENDERS)))
        return {"sent": self._sent, "bytes": self._bytes, "refused": self._refused}

    async def close(self) -> None:
        for lane in self._lanes.values():
            for connection in lane:
                await connection.close()

    def _requests(self) -> Iterator[tuple[Signal, int, bytes]]:
        for number in range(self._sets):
            end = self._end - (self._sets - 1 - number) * self._source.window_ns
            for signal in (signal for signal in (TRACES, LOGS) if signal in self._lanes):
                for template, body in self._source.set(signal, number, end_ns=end):
                    yield signal, template.items, body
        if METRICS not in self._lanes:
            return
        recent = Source(self._source.seed, self._exports * len(self._source.fleet), window_ns=_HOUR_NS)
        for template, body in recent.set(METRICS, 0, end_ns=self._end):
            yield METRICS, template.items, body

    async def _work(self, requests: Iterator[tuple[Signal, int, bytes]], number: int) -> None:
        for signal, items, body in requests:
            for _ in range(RETRIES):
                if await self._lanes[signal][number].send(body):
                    break
                self._refused += 1
                await asyncio.sleep(0.5)
            else:
                raise RuntimeError(f"Ares refused a request {RETRIES} times.")
            self._sent[signal.name] += items
            self._bytes += len(body)


async def prepare_filling(job: dict[str, Any], source: Source) -> Filling:
    """Opens the connections; the templates are built when they are first used."""
    signals = [SIGNALS[name] for name in job["signals"]]
    lanes = {signal: [GrpcConnection(job["target"], signal) for _ in range(SENDERS)] for signal in signals}
    for connection in lanes[signals[0]]:
        await connection.open()
    return Filling(source, job["sets"], job["exports"], job["end_ns"], lanes)
