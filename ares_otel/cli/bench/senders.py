"""Senders with ready-made requests: each has a connection of its own and one request in flight, or keeps to a pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from ares_otel.cli.bench.data import Source
from ares_otel.cli.bench.http_sender import HttpConnection
from ares_otel.model.signal import SIGNALS, Signal

RETRIES = 100
PACED_CONNECTIONS = 16

Export = Callable[[bytes], Awaitable[bool]]
"""Sends one request; False when it was refused for now."""


async def prepare_sending(job: dict[str, Any], source: Source) -> Sending | Pacing:
    """The job's requests and its connections, opened."""
    signal = SIGNALS[job["signal"]]
    requests = source.requests(signal, job["requests"], now_ns=time.time_ns(), first=job["first"], batch=job["batch"])
    paced = job["kind"] == "pace"
    count = PACED_CONNECTIONS if paced else job["senders"]
    connect = GrpcConnection if job["protocol"] == "grpc" else HttpConnection
    connections = [connect(job["target"], signal) for _ in range(count)]
    for connection in connections:
        await connection.open()
    if paced:
        return Pacing(requests.bodies, requests.items, connections, job["a_second"])
    return Sending(requests.bodies, requests.items, connections)


class GrpcConnection:
    """A channel of its own for one sender."""

    def __init__(self, target: str, signal: Signal) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._export = self._channel.unary_unary(f"/{signal.service}/Export", None, None)

    async def open(self) -> None:
        await self._channel.channel_ready()

    async def send(self, body: bytes) -> bool:
        try:
            await self._export(body)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                return False
            raise
        return True

    async def close(self) -> None:
        await self._channel.close(None)


Connection = GrpcConnection | HttpConnection


class Sending:
    """As fast as the answers come."""

    def __init__(self, bodies: list[bytes], items: int, connections: list[Connection]) -> None:
        self._bodies = bodies
        self._items = items
        self._connections = connections
        self._refused = 0

    async def run(self) -> dict[str, Any]:
        await asyncio.gather(*map(self._work, self._connections))
        return {"items": self._items, "refused": self._refused}

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    async def _work(self, connection: Connection) -> None:
        while self._bodies:
            body = self._bodies.pop()
            for _ in range(RETRIES):
                if await connection.send(body):
                    break
                self._refused += 1
                await asyncio.sleep(0.5)
            else:
                raise RuntimeError(f"Ares refused a request {RETRIES} times.")


class Pacing:
    """So many requests a second, whether answers come or not. A request's time runs from when it was due, so that a
    stall counts for all that had to wait for it."""

    def __init__(self, bodies: list[bytes], items: int, connections: list[Connection], a_second: float) -> None:
        self._bodies = bodies
        self._items = items
        self._connections = connections
        self._interval = 1 / a_second
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._times: list[float] = []
        self._refused = 0

    async def run(self) -> dict[str, Any]:
        for connection in self._connections:
            self._idle.put_nowait(connection)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(self._bodies):
                due = started + number * self._interval
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(self._send(body, due))
        return {"items": self._items, "refused": self._refused, "times": self._times}

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    async def _send(self, body: bytes, due: float) -> None:
        connection = await self._idle.get()
        for _ in range(RETRIES):
            if await connection.send(body):
                break
            self._refused += 1
            await asyncio.sleep(0.05)
        self._idle.put_nowait(connection)
        self._times.append(time.perf_counter() - due)
