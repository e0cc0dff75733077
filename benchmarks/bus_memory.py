"""Memory of 10,000 events that wait in the memory bus: `python -m benchmarks.bus_memory`."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from ares_otel.eventbus import MemoryBus
from ares_otel.model.bus import Event

EVENTS = 10_000


async def main() -> None:
    """Prints the bytes that the events take while one subscriber is busy with the first of them."""
    bus = MemoryBus()
    go_on = asyncio.Event()

    async def busy(event: Event) -> None:
        await go_on.wait()

    await bus.subscribe("trade.*", busy, queue_size=EVENTS + 1)
    await bus.publish("trade.executed", {})
    await asyncio.sleep(0)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(EVENTS):
        await bus.publish(
            "trade.executed",
            {"order_id": f"ord-{number}", "symbol": "ARES", "price": 101.25 + number, "quantity": number},
        )
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{EVENTS} events wait: {(after - before) / 1e6:.1f} MB, {(after - before) / EVENTS:.0f} bytes an event")
    go_on.set()
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main())
