"""A process that sends large messages over many connections at once, and prints how often it got which status.

`python -m tests.support.grpc_flood TARGET CONNECTIONS CALLS_EACH BYTES`
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import grpc
import grpc.aio

from ares_otel.model.signal import TRACES
from tests.support.otlp_samples import span, trace_request


async def flood(target: str, connections: int, calls: int, size: int) -> Counter[str]:
    """The number of answers by status."""
    body = trace_request(spans=[span(name="x" * size)]).SerializeToString()
    channels = [
        grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(connections)
    ]

    async def one(channel: grpc.aio.Channel) -> str:
        try:
            await channel.unary_unary(f"/{TRACES.service}/Export", None, None)(body, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    try:
        return Counter(await asyncio.gather(*(one(channel) for channel in channels for _ in range(calls))))
    finally:
        await asyncio.gather(*(channel.close(None) for channel in channels))


if __name__ == "__main__":
    target, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(target, *map(int, numbers)))))
