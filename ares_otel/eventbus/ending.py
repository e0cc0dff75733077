"""Ends tasks for sure: a cancellation may get lost in a library, or in a handler that catches everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

_PATIENCE = 0.25
_ATTEMPTS = 20

log = logging.getLogger("ares_otel.eventbus")


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels the tasks until they have ended; after seconds one that will not is left alone, and that is logged."""
    pending = {task for task in tasks if task is not asyncio.current_task()}
    for _ in range(_ATTEMPTS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE)
    for task in pending:
        log.warning("The task %s did not end when it was told to.", task.get_name())
