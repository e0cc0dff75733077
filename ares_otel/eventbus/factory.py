"""Makes the bus that a process wants."""

from __future__ import annotations

from ares_otel.eventbus.counts import Tell
from ares_otel.eventbus.switching import SwitchingBus

START_SECONDS = 2.0
"""Time that a Redis which is there has to answer before the bus begins without it."""


async def create_event_bus(
    redis_url: str | None = None, *, source: str | None = None, tell: Tell | None = None
) -> SwitchingBus:
    """The bus of this process: over Redis when a URL is given, in memory while Redis is not there and without one.

    Args:
        redis_url: `localhost:6379`, `redis://[user:password@]host[:port][/database]` or `rediss://…`; None for memory.
        source: which process this is, for people; host and process id when not given.
        tell: told every count of the bus as it grows.

    Raises:
        ValueError: the URL is none of these. A Redis that is away is no error.
    """
    bus = SwitchingBus(source=source, tell=tell)
    if redis_url is not None:
        await bus.switch("redis", redis_url, wait_seconds=START_SECONDS)
    return bus
