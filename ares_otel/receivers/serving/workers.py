"""Threads for bodies that are too big for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

INLINE_BYTES = 256 * 1024
"""Up to this size a body is inflated and decoded on the event loop: the hop to a thread costs more than the work."""

_THREADS = 2
_INFLATING = 4

T = TypeVar("T")


class Workers:
    """A small pool. Few threads on purpose: decoding holds the GIL for most of its time, so more of them would only
    take turns with the event loop more often, and hold more decoded bodies in memory at once."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self.inflating = asyncio.Semaphore(_INFLATING)
        """For bodies of more than one piece: hundreds that are inflated in turns would all be half done when the
        memory is used up."""

    async def run(self, size: int, work: Callable[[], T], *, inline_bytes: int = INLINE_BYTES) -> T:
        """Runs `work` for a body of `size` bytes, in a thread when that is more than `inline_bytes`.

        When the caller is cancelled, it still waits for the thread: what the request reserved must stay reserved as
        long as its memory is in use.
        """
        if size <= inline_bytes:
            return work()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="receiver-decode")
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # retrieved: nobody else will
            raise

    def close(self) -> None:
        """Lets running work end; safe twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
