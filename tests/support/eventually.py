"""Waiting for something that comes by itself: polling with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], *, seconds: float = 30.0, every: float = 0.2) -> T:
    """The first true value of `look`. An AssertionError in it counts as "not yet"; after `seconds` the last one is
    raised, or an AssertionError with the last value."""
    deadline = time.monotonic() + seconds
    while True:
        failed: AssertionError | None = None
        found: T | None = None
        try:
            found = await look()
            if found:
                return found
        except AssertionError as error:
            failed = error
        if time.monotonic() >= deadline:
            raise failed or AssertionError(f"still {found!r} after {seconds:.0f} s")
        await asyncio.sleep(every)
