"""The end of a task that works in the background."""

from __future__ import annotations

import asyncio
import contextlib


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancels a task and waits until it has ended; nothing without one. What the task failed with is raised.

    A task whose cancellation may get lost in a library needs `eventbus.ending`, which insists.
    """
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
