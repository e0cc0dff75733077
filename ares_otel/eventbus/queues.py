"""One subscriber's bounded queue and the task that empties it into the handler."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ares_otel.eventbus.calls import Caller
from ares_otel.eventbus.counts import Counts
from ares_otel.eventbus.ending import end
from ares_otel.eventbus.topics import matches
from ares_otel.model.bus import Event, Handler

QUEUE_BYTES = 64 * 1024 * 1024
"""Bytes of data (as JSON) that may wait for one subscriber, whatever the number of events."""

log = logging.getLogger("ares_otel.eventbus")


class _Waiting(NamedTuple):
    event: Event
    size: int
    done: asyncio.Future[bool] | None
    """Told True when the handler has returned or raised, False when the event was dropped."""


class Delivery:
    """A subscription: the queue, its counts, and the handler behind it."""

    def __init__(
        self,
        pattern: str,
        handler: Handler,
        *,
        group: str | None,
        queue_size: int,
        passive: bool,
        counts: Counts,
        on_end: Callable[[Delivery], Awaitable[None]],
    ) -> None:
        if queue_size < 1:
            raise ValueError("queue_size must be at least 1")
        self.pattern = pattern
        self.group = group
        self.passive = passive
        self.dropped = 0
        self._limit = queue_size
        self._counts = counts
        self._call = Caller(handler)
        self._name = getattr(handler, "__qualname__", type(handler).__name__)
        self._on_end = on_end
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = False
        self._task = asyncio.create_task(self._run(), name=f"events {pattern}")

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return len(self._queue)

    def wants(self, topic: str) -> bool:
        return matches(self.pattern, topic)

    def put(self, event: Event, size: int, done: asyncio.Future[bool] | None = None) -> None:
        """Queues an event; drops the oldest ones where there is no room. Never waits."""
        if self._ended:
            _tell(done, False)
            return
        while self._queue and (len(self._queue) >= self._limit or self._bytes + size > QUEUE_BYTES):
            oldest = self._queue.popleft()
            self._bytes -= oldest.size
            _tell(oldest.done, False)
            if not self.dropped:
                log.warning("The subscriber %s of %s is too slow: events are dropped.", self._name, self.pattern)
            self.dropped += 1
            self._counts.add("dropped")
        self._queue.append(_Waiting(event, size, done))
        self._bytes += size
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when the queue is empty and the handler has returned."""
        await self._idle.wait()

    async def unsubscribe(self) -> None:
        """Ends the delivery; what is queued is not delivered any more. Safe twice, and from within the handler."""
        if self._ended:
            return
        self._ended = True
        await self._on_end(self)
        for waiting in self._queue:
            _tell(waiting.done, False)
        self._queue.clear()
        self._bytes = 0
        self._idle.set()
        self._call.close()
        await end([self._task])

    async def _run(self) -> None:
        while not self._ended:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                waiting = self._queue.popleft()
                self._bytes -= waiting.size
                try:
                    await self._call(waiting.event)
                    self._counts.add("delivered")
                except asyncio.CancelledError:
                    if self._ended or (task := asyncio.current_task()) is None or task.cancelling():
                        _tell(waiting.done, False)
                        raise
                    self._failed(waiting.event, "was cancelled")  # by the handler's own doing
                except Exception:
                    self._failed(waiting.event, "raised", exc_info=True)
                _tell(waiting.done, True)
            if not self._ended:
                self._idle.set()

    def _failed(self, event: Event, what: str, *, exc_info: bool = False) -> None:
        self._counts.add("failed")
        log.error("The subscriber %s of %s %s for %s.", self._name, self.pattern, what, event.topic, exc_info=exc_info)


def _tell(done: asyncio.Future[bool] | None, handled: bool) -> None:
    if done is not None and not done.done():
        done.set_result(handled)
