"""What one exporter has handed over and the database has not answered yet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ares_otel.model.batch import Batch
from ares_otel.model.signal import Signal
from ares_otel.sdk.direct.bounds import Bounds
from ares_otel.sdk.direct.self_metrics import SelfMetrics
from ares_otel.sdk.direct.stats import EXPIRED, QUEUE_FULL, SHUTDOWN, ExporterStats, Tally

if TYPE_CHECKING:
    from ares_otel.sdk.direct.session import Session

ROUND_BATCHES = 16
ROUND_BYTES = 4 * 1024 * 1024
"""What is stored at once, in one transaction; at least one batch."""
OVERHEAD = 512
"""Bytes that a batch takes besides its encoded items."""


class Parcel:
    """One batch on its way."""

    __slots__ = ("batch", "born", "due", "items", "outcome", "tries")

    def __init__(self, batch: Batch, items: int, born: float) -> None:
        self.batch = batch
        self.items = items
        self.born = born
        """`time.monotonic()` when it was handed over."""
        self.due = 0.0
        """When it is tried again, if it was the reason of a failure."""
        self.tries = 0
        self.outcome: bool | None = None
        """Whether it was stored; None: not known yet."""

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.batch.payload) + OVERHEAD


class Outbox:
    """A bounded queue between the application's threads and the worker's loop; a batch that is being stored is still in
    it. Thread-safe, but for what is said to be the loop's."""

    def __init__(self, signal: Signal, bounds: Bounds, metrics: SelfMetrics) -> None:
        self.signal = signal
        self.bounds = bounds
        self.metrics = metrics
        self.tally = Tally()
        self.reset()

    def reset(self) -> None:
        """Empties it without a word: what waits belongs to the process that this one was forked from."""
        self._changed = threading.Condition()
        self._waiting: deque[Parcel] = deque()
        self._pending: set[Parcel] = set()
        self._size = self._items = 0
        self.closing = False
        """Nothing is tried twice any more."""
        self.session: Session | None = None
        """Who stores what comes into it, in this process."""
        self.saying = False
        """Whether the worker is going to say what was dropped."""
        self.arrived: asyncio.Event | None = None
        self.hurry: asyncio.Event | None = None
        """The loop's: something was handed over; somebody waits."""
        self.tally.reset()

    def put(self, payload: bytes, items: int) -> bool:
        """Takes a batch; False, and counted, when there is no room."""
        batch = Batch(
            self.signal,
            payload,
            key=os.urandom(16),
            received_ns=time.time_ns(),
            receiver="sdk",
            transport="direct",
            items=items,
        )
        parcel = Parcel(batch, items, time.monotonic())
        self.tally.exported(items)
        self.metrics.started(items)
        with self._changed:
            room = self._size + parcel.size <= self.bounds.queue_bytes
            room = room and self._items + items <= self.bounds.queue_items and not self.closing
            if room:
                self._waiting.append(parcel)
                self._pending.add(parcel)
                self._size += parcel.size
                self._items += items
        if not room:
            self._count_drop(parcel, SHUTDOWN if self.closing else QUEUE_FULL)
        return room

    def take(self) -> list[Parcel]:
        """The oldest that are due, as many as one transaction may hold. The loop's."""
        now = time.monotonic()
        taken: list[Parcel] = []
        size = 0
        with self._changed:
            for _ in range(len(self._waiting)):
                parcel = self._waiting[0]
                if taken and (len(taken) == ROUND_BATCHES or size + parcel.size > ROUND_BYTES):
                    break
                self._waiting.popleft()
                if parcel.due > now and not self.closing:
                    self._waiting.append(parcel)
                    continue
                taken.append(parcel)
                size += parcel.size
        return taken

    def seconds_until_due(self) -> float | None:
        """How long nothing has to be done; None: until something arrives."""
        now = time.monotonic()
        with self._changed:
            if not self._waiting:
                return None
            return 0.0 if self.closing else max(0.0, min(parcel.due for parcel in self._waiting) - now)

    def give_back(self, parcels: list[Parcel]) -> None:
        """They were not stored, and are tried again: first of all, unless they have a time of their own."""
        with self._changed:
            for parcel in reversed(parcels):
                if parcel in self._pending:
                    self._waiting.appendleft(parcel)

    def stored(self, parcel: Parcel, stored: int, rejected: int) -> None:
        """The database has answered."""
        if self._settle(parcel, rejected == 0):
            self.tally.settled(stored, rejected)
            self.metrics.ended(parcel.items, time.monotonic() - parcel.born, "rejected" if rejected else "")

    def drop(self, parcel: Parcel, reason: str) -> None:
        """It is given up."""
        if self._settle(parcel, False):
            self._count_drop(parcel, reason)

    def drop_expired(self) -> None:
        """Gives up what waited too long."""
        oldest = time.monotonic() - self.bounds.retry_seconds
        with self._changed:
            expired = [parcel for parcel in self._waiting if parcel.born < oldest]
            self._waiting = deque(parcel for parcel in self._waiting if parcel.born >= oldest)
        for parcel in expired:
            self.drop(parcel, EXPIRED)

    def drop_all(self) -> None:
        """Gives up everything: the process ends."""
        with self._changed:
            pending = list(self._pending)
            self._waiting.clear()
        for parcel in pending:
            self.drop(parcel, SHUTDOWN)

    def wait(self, timeout: float) -> bool:
        """Waits until what is in it now has an answer; True when all of it was stored."""
        deadline = time.monotonic() + timeout
        with self._changed:
            parcels = list(self._pending)
            for parcel in parcels:
                while parcel.outcome is None:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        return all(parcel.outcome for parcel in parcels)
        return all(parcel.outcome for parcel in parcels)

    @property
    def stats(self) -> ExporterStats:
        with self._changed:
            return self.tally.stats(self._items, self._size)

    @property
    def is_empty(self) -> bool:
        return not self._pending

    def refuse(self, items: int, reason: str) -> None:
        """Counts what never became a batch."""
        self.tally.exported(items)
        self.metrics.started(items)
        self.tally.dropped(items, reason)
        self.metrics.ended(items, 0.0, reason)

    def _settle(self, parcel: Parcel, outcome: bool) -> bool:
        """False when that was done before: it had been given up."""
        with self._changed:
            if parcel not in self._pending:
                return False
            self._pending.discard(parcel)
            self._size -= parcel.size
            self._items -= parcel.items
            parcel.outcome = outcome
            self._changed.notify_all()
        return True

    def _count_drop(self, parcel: Parcel, reason: str) -> None:
        self.tally.dropped(parcel.items, reason)
        self.metrics.ended(parcel.items, time.monotonic() - parcel.born, reason)

    @contextlib.contextmanager
    def events(self) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
        """`arrived` and `hurry`, on the running loop, which is the only one that may set them."""
        self.arrived, self.hurry = asyncio.Event(), asyncio.Event()
        try:
            yield self.arrived, self.hurry
        finally:
            self.arrived = self.hurry = None

    def on_arrival(self) -> None:
        """The loop's: look again."""
        if self.arrived is not None:
            self.arrived.set()

    def on_hurry(self) -> None:
        """The loop's: somebody waits, so try now."""
        if self.hurry is not None:
            self.hurry.set()
        self.on_arrival()
