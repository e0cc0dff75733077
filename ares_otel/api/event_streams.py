"""Open streams of events: how many there may be, and that all of them end when Ares stops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from ares_otel.model.bus import Event, EventBus

MAX_STREAMS = 200
QUEUE = 1000
"""Events that may wait for one client; what does not fit is dropped, the oldest first, and the client is told."""
BEAT_SECONDS = 10.0


class TooManyStreams(Exception):
    """As many streams are open as this process serves, or it is stopping."""


class EventStreams:
    """The streams of one process. `stop` ends them all."""

    def __init__(self, bus: EventBus, *, limit: int = MAX_STREAMS, beat_seconds: float = BEAT_SECONDS) -> None:
        self.bus = bus
        self._limit = limit
        self._beat = beat_seconds
        self._open = 0
        self._stopping = asyncio.Event()

    @property
    def open(self) -> int:
        return self._open

    async def stop(self) -> None:
        """Ends every stream, and opens no more. Safe twice."""
        self._stopping.set()

    async def follow(self, pattern: str, after: str | None) -> AsyncIterator[Event | int | None]:
        """Events that the pattern wants, from now on; after the event `after` where that is remembered.

        The iterator gives None after seconds of silence, and a number for so many events that are missing: dropped
        because the client is slow, or -1 for an unknown number because `after` is not remembered.

        Raises:
            TooManyStreams: no more streams are served.
            ValueError: the pattern is none.
        """
        if self._open >= self._limit or self._stopping.is_set():
            raise TooManyStreams
        queue: deque[Event] = deque()
        filled = asyncio.Event()
        missing = 0

        async def take(event: Event) -> None:
            nonlocal missing
            if len(queue) >= QUEUE:
                queue.popleft()
                missing += 1
            queue.append(event)
            filled.set()

        subscription = await self.bus.subscribe(pattern, take, queue_size=QUEUE)
        self._open += 1
        missed = self.bus.replay(pattern, after) if after is not None else []

        async def events() -> AsyncIterator[Event | int | None]:
            nonlocal missing
            sent: set[str] = set()
            try:
                if missed is None:
                    yield -1
                for event in missed or ():
                    sent.add(event.id)
                    yield event
                while not self._stopping.is_set():
                    if not queue:
                        filled.clear()
                        if not await self._something(filled):
                            yield None
                        continue
                    if missing + subscription.dropped:
                        number, missing = missing + subscription.dropped, 0
                        subscription.dropped = 0
                        yield number
                    event = queue.popleft()
                    if event.id in sent:  # it came while the missed ones were looked up
                        sent.discard(event.id)
                        continue
                    yield event
            finally:
                self._open -= 1
                await subscription.unsubscribe()

        return events()

    async def _something(self, filled: asyncio.Event) -> bool:
        """Waits for an event or the stop; False after seconds of silence."""
        waits = [asyncio.ensure_future(filled.wait()), asyncio.ensure_future(self._stopping.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)
