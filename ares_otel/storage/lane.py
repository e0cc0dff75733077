"""What waits for the writer, of one signal."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Retryable
from ares_otel.model.signal import Signal
from ares_otel.storage.rows.encoded import EncodedBatch

GROUP_REQUESTS = 100
"""Requests of one transaction at most: each holds an advisory lock, of which a server has a few thousand."""

AT_ONCE = 2
"""Connections that take from a lane at once, whatever waits: while one commits, another one sends."""
ANOTHER_BYTES = 128 * 1024
"""Row bytes that wait before one more does. Fewer are better off together, in the next transaction of a connection that
is at work: what a transaction costs whatever is in it is worth hundreds of points."""
ANOTHER_SECONDS = 0.025
"""Or so long: the connections that are at work may be stuck."""


class Waiting:
    """A batch and whoever waits for what becomes of it."""

    __slots__ = ("batch", "done", "since", "unsure")

    def __init__(self, batch: EncodedBatch, done: asyncio.Future[Accepted], since: float) -> None:
        self.batch = batch
        self.done = done
        self.since = since
        """When it began to wait, on the monotonic clock."""
        self.unsure = False
        """A COMMIT with it was sent, and its answer was lost: it may be stored."""

    def answer(self, answer: Accepted) -> None:
        if not self.done.done():  # else nobody waits any more
            self.done.set_result(answer)

    def fail(self, error: Retryable) -> None:
        """With an exception of its own: raising one object in many tasks mixes their tracebacks."""
        if not self.done.done():
            self.done.set_exception(copy.copy(error))


def mark_unsure(group: Sequence[Waiting]) -> None:
    """A COMMIT with these was sent and its answer did not come."""
    for waiting in group:
        waiting.unsure = True


class Lane:
    """A queue, and how many more connections may take from it."""

    def __init__(self, signal: Signal, connections: int) -> None:
        self.signal = signal
        self.free = connections
        self.called = False
        """Whether a connection is about to take all that waits."""
        self.looking: asyncio.TimerHandle | None = None
        """When it is looked for somebody who waits for too long."""
        self.size = 0
        """Bytes of rows that wait, in both queues."""
        self.poisoned: deque[Waiting] = deque()
        """Requests in which the database refuses something: what that is, is looked for one after the other and
        apart from the others, who must not wait for that."""
        self.searching = False
        self._connections = connections
        self._waiting: deque[Waiting] = deque()

    @property
    def waits(self) -> bool:
        """Whether something may be taken."""
        return bool(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting) + len(self.poisoned)

    def put(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)
        self.size += waiting.batch.size

    def wants_another(self, now: float) -> bool:
        """Whether one more connection shall take from it, where there is one: few are at work, or there is enough to do
        for another, or something waits for too long."""
        if not self.free or not self._waiting or self.called:
            return False
        few = self._connections - self.free < AT_ONCE
        return few or self.size >= ANOTHER_BYTES or now >= self._waiting[0].since + ANOTHER_SECONDS

    def stop_looking(self) -> None:
        if self.looking is not None:
            self.looking.cancel()

    def set_apart(self, waiting: Waiting) -> None:
        self.poisoned.append(waiting)
        self.size += waiting.batch.size

    def searched(self) -> None:
        """The first one of those that were set apart is through; until now it waited."""
        self.size -= self.poisoned.popleft().batch.size

    def take(self, most_bytes: int, now: float) -> list[Waiting]:
        """All that waits, up to the limits, less what nobody waits for any more."""
        group: dict[bytes, Waiting] = {}
        size = 0
        while self._waiting and len(group) < GROUP_REQUESTS:
            waiting = self._waiting[0]
            batch = waiting.batch
            if group and (size + batch.size > most_bytes or batch.key in group):
                break
            self._waiting.popleft()
            self.size -= batch.size
            if waiting.done.done():
                continue
            if batch.source is not None and batch.source.deadline is not None and batch.source.deadline < now:
                waiting.fail(Retryable("The sender's deadline passed before the data could be stored."))
                continue
            group[batch.key] = waiting
            size += batch.size
        return list(group.values())
