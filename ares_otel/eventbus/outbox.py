"""Events on their way to Redis: bounded, in order, kept while Redis is away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from ares_otel.eventbus.topics import is_tail
from ares_otel.model.bus import Event

MAX_EVENTS = 10_000
MAX_BYTES = 32 * 1024 * 1024


class Outgoing:
    """An event that waits, and the groups that had it here."""

    __slots__ = ("done", "event", "local", "named", "payload", "sent")

    def __init__(self, event: Event, payload: bytes, *, named: bool, local: bool) -> None:
        self.event = event
        self.payload = payload
        self.named = named
        """The publisher chose the id: other processes may publish the same."""
        self.local = local
        """Whether this process's group members have had it, or need not: Redis was away when it was published."""
        self.done: list[tuple[str, str]] = []
        self.sent = False


class Outbox:
    """First in, first out; what does not fit pushes the oldest out."""

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._events: deque[Outgoing] = deque()
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self.filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Outgoing]:
        return iter(self._events)

    def put(self, outgoing: Outgoing) -> list[Outgoing]:
        """Adds an event; gives those that had to go for it."""
        gone = []
        self._events.append(outgoing)
        self._bytes += len(outgoing.payload)
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            gone.append(self._pop())
        self.filled.set()
        return gone

    def head(self, events: int, size: int) -> list[Outgoing]:
        """The oldest events, up to that many and about that many bytes, at least one; they stay."""
        found: list[Outgoing] = []
        for outgoing in self._events:
            if found and (len(found) >= events or size < len(outgoing.payload)):
                break
            found.append(outgoing)
            size -= len(outgoing.payload)
        return found

    def remove_sent(self, count: int) -> None:
        """Takes out what was sent of the oldest `count` events; the others stay where they are."""
        kept = [outgoing for outgoing in (self._pop() for _ in range(min(count, len(self)))) if not outgoing.sent]
        for outgoing in reversed(kept):
            self._events.appendleft(outgoing)
            self._bytes += len(outgoing.payload)
        if not self._events:
            self.filled.clear()

    def drop_tail(self) -> int:
        """Takes out what is of the live tail, which nobody wants later; gives how many."""
        kept = [outgoing for outgoing in self._events if not is_tail(outgoing.event.topic)]
        gone = len(self._events) - len(kept)
        self._events = deque(kept)
        self._bytes = sum(len(outgoing.payload) for outgoing in kept)
        if not kept:
            self.filled.clear()
        return gone

    def _pop(self) -> Outgoing:
        outgoing = self._events.popleft()
        self._bytes -= len(outgoing.payload)
        return outgoing
