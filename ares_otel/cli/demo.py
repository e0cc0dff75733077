"""`ares-otel demo`: the shop alone."""

from __future__ import annotations

import asyncio
import signal

from ares_otel.cli import console
from ares_otel.demo.shop import DemoShop, ShopError


async def run_demo(otlp_grpc: str, otlp_http: str) -> int:
    """Runs the shop until SIGINT or SIGTERM. Returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shop = DemoShop(otlp_grpc=otlp_grpc, otlp_http=otlp_http, progress=console.progress)
    try:
        for name, url in (await shop.start()).items():
            console.door(name, url)
        console.ready()
        await stop.wait()
    except ShopError as error:
        console.error(str(error))
        return 1
    finally:
        await shop.stop()
    return 0
