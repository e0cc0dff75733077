"""Ingest: OTLP/gRPC requests into a running Ares, counted as committed rows."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import grpc

from ares_otel.cli.bench.data import Requests
from ares_otel.cli.bench.process import Running
from ares_otel.model.signal import TRACES

RETRIES = 100


async def run_ingest(running: Running, requests: Requests, *, senders: int) -> float:
    """Committed spans a second with that many senders, each with a connection of its own and one request in flight.

    Raises:
        RuntimeError: the table did not grow by exactly the spans that were acknowledged.
    """
    connection = await asyncpg.connect(running.doors["database"])
    before = await connection.fetchval("SELECT count(*) FROM service_spans")
    bodies = list(requests.bodies)
    target = running.doors["otlp-grpc"].split("//")[-1]

    async def send() -> None:
        async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.unary_unary(f"/{TRACES.service}/Export", None, None)
            while bodies:
                body = bodies.pop()
                for _ in range(RETRIES):
                    try:
                        await export(body)
                        break
                    except grpc.aio.AioRpcError as error:
                        if error.code() is not grpc.StatusCode.UNAVAILABLE:
                            raise
                        await asyncio.sleep(1)
                else:
                    raise RuntimeError("Ares refused a request a hundred times.")

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(senders)))
    seconds = time.perf_counter() - started
    after = await connection.fetchval("SELECT count(*) FROM service_spans")
    await connection.close()
    if after - before != requests.spans:
        raise RuntimeError(f"{requests.spans} spans were acknowledged, but the table grew by {after - before}.")
    return requests.spans / seconds
