"""What waits in the spool, in memory: where each request lies, in which order, and what its sender was told."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ares_otel.model.signal import SIGNALS, Signal


class Told(NamedTuple):
    """What the sender of a request that waits was told."""

    items: int
    rejected: int
    reason: str


class Amount(NamedTuple):
    """Requests, items in them that their senders were told are safe, and bytes on disk that wait."""

    records: int
    items: int
    size: int


class Segment:
    """A segment file and what is known of it. Only `Index` changes the counts."""

    __slots__ = ("damaged", "number", "oldest_ns", "path", "records", "sealed", "signal", "size")

    def __init__(self, signal: Signal, number: int, path: Path, *, sealed: bool) -> None:
        self.signal = signal
        self.number = number
        self.path = path
        self.size = 0
        """Bytes that are durable."""
        self.sealed = sealed
        """Nothing is written to it any more."""
        self.records = 0
        """Requests in it that still wait."""
        self.oldest_ns: int | None = None
        """When the oldest request in it was received, done or not."""
        self.damaged = False
        """A request in it could not be read: the file is kept when it is done."""


class Place:
    """Where one request that waits lies."""

    __slots__ = (
        "done",
        "items",
        "key",
        "offset",
        "order",
        "reason",
        "received_ns",
        "rejected",
        "segment",
        "size",
        "taken",
    )

    def __init__(self, segment: Segment, offset: int, size: int, key: bytes, received_ns: int, told: Told) -> None:
        self.segment = segment
        self.offset = offset
        self.size = size
        self.key = key
        self.received_ns = received_ns
        self.items, self.rejected, self.reason = told
        self.order = 0
        self.taken = self.done = False

    @property
    def promised(self) -> int:
        """Items that the sender was told are safe."""
        return self.items - self.rejected

    def __lt__(self, other: Place) -> bool:
        return self.received_ns < other.received_ns


class _Queue:
    """The requests of one signal."""

    __slots__ = ("by_age", "items", "ready", "records", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, Place] = {}
        self.ready: list[int] = []
        """Heap of the orders that `take` may give."""
        self.by_age: list[Place] = []
        """Heap; done ones leave it when they come to its top."""
        self.records = self.items = self.size = 0


class Index:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues = {signal: _Queue() for signal in SIGNALS.values()}
        self._keys: dict[bytes, Place] = {}
        self._segments: dict[Path, Segment] = {}
        self._order = 0
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes of all segments."""
        return self._used

    @property
    def records(self) -> int:
        """Requests that wait."""
        return sum(queue.records for queue in self._queues.values())

    def add(self, segment: Segment, size: int, places: Sequence[Place]) -> None:
        """A segment became `size` bytes long by these requests, in this order."""
        with self._lock:
            self._segments[segment.path] = segment
            self._used += size - segment.size
            segment.size = size
            segment.records += len(places)
            queue = self._queues[segment.signal]
            for place in places:
                self._order += 1
                place.order = self._order
                queue.waiting[place.order] = place
                heapq.heappush(queue.ready, place.order)
                heapq.heappush(queue.by_age, place)
                queue.records += 1
                queue.items += place.promised
                queue.size += place.size
                self._keys.setdefault(place.key, place)
                if segment.oldest_ns is None or place.received_ns < segment.oldest_ns:
                    segment.oldest_ns = place.received_ns

    def take(self, signal: Signal, max_records: int, max_bytes: int) -> list[Place]:
        """The oldest requests that nobody has; at least one where there is one, whatever its size."""
        taken: list[Place] = []
        size = 0
        with self._lock:
            queue = self._queues[signal]
            while queue.ready and len(taken) < max_records:
                place = queue.waiting.get(queue.ready[0])
                if place is not None:
                    if taken and size + place.size > max_bytes:
                        break
                    size += place.size
                    place.taken = True
                    taken.append(place)
                heapq.heappop(queue.ready)
        return taken

    def give_back(self, places: Iterable[Place]) -> None:
        """Lets `take` give these again."""
        with self._lock:
            for place in places:
                if place.taken and not place.done:
                    place.taken = False
                    heapq.heappush(self._queues[place.segment.signal].ready, place.order)

    def remove(self, places: Iterable[Place]) -> list[Place]:
        """These need not wait any more; returns those that waited until now."""
        removed: list[Place] = []
        with self._lock:
            for place in places:
                if place.done:
                    continue
                place.done = True
                removed.append(place)
                queue = self._queues[place.segment.signal]
                del queue.waiting[place.order]
                queue.records -= 1
                queue.items -= place.promised
                queue.size -= place.size
                place.segment.records -= 1
                if self._keys.get(place.key) is place:
                    del self._keys[place.key]
            for queue in self._queues.values():
                _tidy(queue)
        return removed

    def finished(self) -> list[Segment]:
        """Segments in which nothing waits, oldest first."""
        with self._lock:
            empty = [segment for segment in self._segments.values() if not segment.records]
        return sorted(empty, key=lambda segment: segment.number)

    def forget(self, segment: Segment) -> None:
        """A segment is not on the disk any more."""
        with self._lock:
            del self._segments[segment.path]
            self._used -= segment.size

    def oldest_number(self, signal: Signal) -> int | None:
        """Number of the oldest segment of a signal."""
        with self._lock:
            numbers = [segment.number for segment in self._segments.values() if segment.signal is signal]
        return min(numbers, default=None)

    def find(self, key: bytes) -> Told | None:
        """What the sender of the request with this key was told, when it waits."""
        place = self._keys.get(key)
        return None if place is None else Told(place.items, place.rejected, place.reason)

    def waiting(self, signal: Signal) -> Amount:
        """How much of a signal waits."""
        with self._lock:
            queue = self._queues[signal]
            return Amount(queue.records, queue.items, queue.size)

    def oldest_ns(self) -> int | None:
        """When the oldest request that waits was received."""
        with self._lock:
            return min((queue.by_age[0].received_ns for queue in self._queues.values() if queue.by_age), default=None)

    def kept_ns(self) -> int | None:
        """When the oldest request in any segment was received, done or not."""
        with self._lock:
            times = [one.oldest_ns for one in self._segments.values() if one.oldest_ns is not None]
        return min(times, default=None)


def _tidy(queue: _Queue) -> None:
    """Takes what is done from the top of the heap, and everywhere when most of it is done."""
    heap = queue.by_age
    while heap and heap[0].done:
        heapq.heappop(heap)
    if len(heap) > 2 * queue.records + 1_000:
        queue.by_age = [place for place in heap if not place.done]
        heapq.heapify(queue.by_age)
