"""A sender that knows exactly what it was told: sends traces at a fixed rate, or as fast as they are answered.

`python -m benchmarks.overload_sender '{"target": "127.0.0.1:4317", "grpc": true, …}'` prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TIMEOUT_SECONDS = 120.0
CHANNELS = 4
_MARK = b"sixteen-bytes-id"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sender does."""

    target: str
    """host:port"""
    grpc: bool
    """OTLP/gRPC, else OTLP/HTTP."""
    spans: int
    """In each request; all of a request have the same trace id."""
    span_bytes: int
    seconds: float
    rate: float
    """Requests a second, whatever comes back; 0: one after the other in each of `lanes`."""
    lanes: int = 8


@dataclass(slots=True)
class Told:
    """What the sender was told."""

    offered: int = 0
    accepted: list[str] = field(default_factory=list)
    """Trace ids, in hex, of requests that were answered OK."""
    refusals: list[float] = field(default_factory=list)
    """Seconds until each UNAVAILABLE or 503 that asks for a retry."""
    others: Counter[str] = field(default_factory=Counter)
    """Any other end: nobody knows what became of those."""
    seconds: float = 0.0
    """Until the last answer."""


def template(plan: Plan) -> bytes:
    """A request whose trace ids are `_MARK`."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    service = resource.resource.attributes.add(key="service.name")
    service.value.string_value = "overload"
    scope = resource.scope_spans.add()
    now = time.time_ns()
    for number in range(plan.spans):
        span = scope.spans.add(trace_id=_MARK, span_id=(number + 1).to_bytes(8, "big"), name="work")
        span.start_time_unix_nano, span.end_time_unix_nano = now, now + 1000
        span.attributes.add(key="filler").value.string_value = os.urandom(plan.span_bytes // 2).hex()
    return request.SerializeToString()


class Sender:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._template = template(plan)
        self._told = Told()
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(plan.target, options) for _ in range(CHANNELS if plan.grpc else 0)]

    async def run(self) -> Told:
        plan, started = self._plan, time.monotonic()
        end = started + plan.seconds
        if plan.rate:
            tasks = []
            while (now := time.monotonic()) < end:
                due = int((now - started) * plan.rate) + 1
                while self._told.offered < due:
                    tasks.append(asyncio.create_task(self._one()))
                    await asyncio.sleep(0)
                await asyncio.sleep(0.002)
        else:
            tasks = [asyncio.create_task(self._lane(end)) for _ in range(plan.lanes)]
        await asyncio.gather(*tasks)
        self._told.seconds = time.monotonic() - started
        for channel in self._channels:
            await channel.close(None)
        return self._told

    async def _lane(self, end: float) -> None:
        while time.monotonic() < end:
            before = len(self._told.refusals)
            await self._one()
            if len(self._told.refusals) > before:
                await asyncio.sleep(0.1)

    async def _one(self) -> None:
        told, trace = self._told, os.urandom(16)
        body = self._template.replace(_MARK, trace)
        number, told.offered = told.offered, told.offered + 1
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await (self._grpc(body, number) if self._plan.grpc else self._http(body))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            answer = type(error).__name__
        if answer == "accepted":
            told.accepted.append(trace.hex())
        elif answer == "refused":
            told.refusals.append(time.perf_counter() - started)
        else:
            told.others[answer] += 1

    async def _grpc(self, body: bytes, number: int) -> str:
        try:
            await self._channels[number % CHANNELS].unary_unary(METHOD, None, None)(body)
        except grpc.aio.AioRpcError as error:
            trailers: Any = error.trailing_metadata() or ()
            asks = any(name == "grpc-status-details-bin" for name, _ in trailers)
            return "refused" if error.code() == grpc.StatusCode.UNAVAILABLE and asks else error.code().name
        return "accepted"

    async def _http(self, body: bytes) -> str:
        host, _, port = self._plan.target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            lines = ["POST /v1/traces HTTP/1.1", f"Host: {self._plan.target}", "Content-Type: application/x-protobuf"]
            writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode())
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()
        status = head.split(b" ", 2)[1].decode()
        if status == "503" and b"retry-after: " in head.lower():
            return "refused"
        return "accepted" if status == "200" else status


async def main() -> None:
    told = await Sender(Plan(**json.loads(sys.argv[1]))).run()
    print(json.dumps(asdict(told)))


if __name__ == "__main__":
    asyncio.run(main())
