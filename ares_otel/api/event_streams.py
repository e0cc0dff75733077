"""Open streams of events: how many there may be, and that all of them end when Ares stops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ares_otel.model.bus import Event, EventBus, Subscription

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
        self.stopping = asyncio.Event()

    @property
    def open(self) -> int:
        return self._open

    async def stop(self) -> None:
        """Ends every stream, and opens no more. Safe twice."""
        self.stopping.set()

    async def follow(self, pattern: str, after: str | None) -> Stream:
        """Opens a stream of the events that the pattern wants, from now on; after the event `after` where that is
        remembered. The caller closes it.

        Raises:
            TooManyStreams: no more streams are served.
            ValueError: the pattern is none.
        """
        if self._open >= self._limit or self.stopping.is_set():
            raise TooManyStreams
        self._open += 1
        stream = Stream(self, self._beat, on_close=self._closed)
        try:
            await stream.open(pattern, after)
        except BaseException:
            await stream.close()
            raise
        return stream

    def _closed(self) -> None:
        self._open -= 1


class Stream:
    """One client's events. Iterating gives an event; None after seconds of silence; and a number for so many events
    that are missing: dropped because the client is slow, or -1 for an unknown number because the event to go on behind
    is not remembered."""

    def __init__(self, streams: EventStreams, beat: float, *, on_close: Callable[[], None]) -> None:
        self._streams = streams
        self._beat = beat
        self._on_close = on_close
        self._queue: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._missing = 0
        self._missed: list[Event] | None = []
        self._subscription: Subscription | None = None
        self._is_closed = False

    async def open(self, pattern: str, after: str | None) -> None:
        """Raises ValueError for a bad pattern."""
        bus = self._streams.bus
        self._subscription = await bus.subscribe(pattern, self._take, queue_size=QUEUE)
        if after is not None:
            self._missed = bus.replay(pattern, after)

    async def close(self) -> None:
        """Safe twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._on_close()
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def __aiter__(self) -> AsyncIterator[Event | int | None]:
        assert self._subscription is not None
        if self._missed is None:
            yield -1
        sent = {event.id for event in self._missed or ()}
        for event in self._missed or ():
            yield event
        stopping = self._streams.stopping
        while not stopping.is_set():
            if not self._queue:
                self._filled.clear()
                if not await self._something(stopping):
                    yield None
                continue
            missing = self._missing + self._subscription.dropped
            if missing:
                self._missing = self._subscription.dropped = 0
                yield missing
            event = self._queue.popleft()
            if event.id in sent:  # it came while the missed ones were looked up
                sent.discard(event.id)
            else:
                yield event

    async def _take(self, event: Event) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._missing += 1
        self._queue.append(event)
        self._filled.set()

    async def _something(self, stopping: asyncio.Event) -> bool:
        """Waits for an event or the stop; False after seconds of silence."""
        waits = [asyncio.ensure_future(self._filled.wait()), asyncio.ensure_future(stopping.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)
