"""A gRPC door with methods that a test gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import Calls, GrpcDoor, Methods
from ares_otel.receivers.otlp.config import GrpcConfig
from ares_otel.receivers.otlp.grpc_server import server_options


def grpc_door(methods: Methods, calls: Calls, grace: Grace | None = None, *, port: int = 0) -> GrpcDoor:
    """A door on loopback whose port is set by `--toys-port`."""
    return GrpcDoor(
        methods,
        calls,
        host="127.0.0.1",
        port=port,
        setting="--toys-port",
        host_setting="--host",
        options=server_options(GrpcConfig()),
        grace=grace or Grace(),
    )


@asynccontextmanager
async def open_grpc_door(
    methods: Methods, calls: Calls, grace: Grace | None = None
) -> AsyncIterator[tuple[GrpcDoor, grpc.aio.Channel]]:
    """The door, open for the length of a block, and a client of it."""
    door = grpc_door(methods, calls, grace)
    await door.start()
    try:
        async with grpc.aio.insecure_channel(door.address) as channel:
            yield door, channel
    finally:
        await door.stop()
