"""Who is told of which changes, and how: nobody waits for a slow callback or suffers from a bad one."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ares_otel.control.config_values import ConfigChange

Callback = Callable[[ConfigChange], Awaitable[None] | None]

log = logging.getLogger("ares_otel.control.config_manager")


class Subscription:
    """A callback for a key or a pattern of keys. `cancel()` ends it; safe twice."""

    def __init__(self, service: str, pattern: str, callback: Callback, owner: list[Subscription]) -> None:
        self.pattern = pattern
        self._service = service
        self._matches = re.compile(fnmatch.translate(pattern)).match
        self._callback = callback
        self._owner = owner
        self._waiting: dict[str, ConfigChange] = {}
        self._worker: asyncio.Task[None] | None = None

    def wants(self, change: ConfigChange) -> bool:
        return change.service == self._service and self._matches(change.key) is not None

    def tell(self, change: ConfigChange) -> None:
        """Queues a change. While a callback is busy, the changes of one key become one: the queue is bounded by the
        number of keys, and the last value always arrives."""
        before = self._waiting.pop(change.key, None)
        if before is not None:
            change = replace(change, old=before.old, created=before.created and not change.deleted)
        self._waiting[change.key] = change
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work(), name=f"config {self.pattern}")

    def cancel(self) -> None:
        if self in self._owner:
            self._owner.remove(self)
        self._waiting.clear()

    def forget_loop(self) -> None:
        """In the child of a fork: whoever worked here is not there any more."""
        self._worker = None

    async def stop(self) -> None:
        """Ends the delivery, also in the middle of a callback."""
        self.cancel()
        worker, self._worker = self._worker, None
        if worker is not None and worker is not asyncio.current_task():
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        while self._waiting:
            change = self._waiting.pop(next(iter(self._waiting)))
            try:
                result = self._callback(change)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                # No traceback and no text of the error: either may quote a value, which may be a secret.
                name = getattr(self._callback, "__qualname__", repr(type(self._callback)))
                log.error(
                    "%s failed with %s on the change of %s/%s to version %d; other callbacks are not affected.",
                    name,
                    type(error).__name__,
                    change.service,
                    change.key,
                    change.version,
                )
