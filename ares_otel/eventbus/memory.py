"""The bus within one process: it needs nothing, and is the local half of every other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import uuid
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from ares_otel.eventbus.counts import Counts, Tell
from ares_otel.eventbus.queues import Delivery
from ares_otel.eventbus.topics import check_pattern, check_topic, is_tail, matches
from ares_otel.model.bus import DATA_LIMIT, BusHealth, Event, Handler, Subscription

CLOSE_SECONDS = 5.0
"""Time that `close` gives handlers to finish what is queued."""
RECENT_EVENTS = 1000
RECENT_BYTES = 8 * 1024 * 1024
"""What is kept for those who come back after a moment."""
SEEN_IDS = 10_000

_ID = re.compile(r"[!-~]{1,200}")
_GROUP = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)

Group = tuple[str, str]
"""Name and pattern: members with another pattern do other work, so they are another group."""


class MemoryBus:
    """An `EventBus` for one process. Data is copied through JSON, so that subscribers see the same on every adapter."""

    def __init__(self, *, source: str | None = None, tell: Tell | None = None) -> None:
        """
        Args:
            source: which process this is, for people; host and process id when not given.
            tell: told every count as it grows.
        """
        self.source = source if source is not None else f"{socket.gethostname()}/{os.getpid()}"
        self.counts = Counts(tell)
        self._since = datetime.now(UTC)
        self._all: list[Delivery] = []
        """Every subscription without a group."""
        self._groups: dict[Group, list[Delivery]] = {}
        self._recent: deque[tuple[Event, int]] = deque()
        self._recent_bytes = 0
        self._seen: dict[str, None] = {}
        self._closed = False

    async def publish(self, topic: str, data: Any, *, id: str | None = None) -> Event:
        """See `EventBus.publish`. An id that was published a moment ago, here or by another process, is the same event
        and is not delivered again."""
        event, payload = self._make(topic, data, id)
        if self._closed:
            self.counts.add("dropped")
            return event
        if id is not None and not self._first_time(id):
            return event
        self.counts.published_to(topic)
        self._route(event, payload, named=id is not None)
        return event

    async def subscribe(
        self,
        pattern: str,
        handler: Handler,
        *,
        group: str | None = None,
        queue_size: int = 1000,
        passive: bool = False,
    ) -> Subscription:
        """See `EventBus.subscribe`. Raises ValueError for a bad pattern, group or queue size."""
        check_pattern(pattern)
        if group is not None and not _GROUP.fullmatch(group):
            raise ValueError("A group's name is 1 to 100 letters, digits, dots, _ and -")
        if self._closed:
            raise ValueError("The event bus is closed; subscribe before it ends")
        delivery = Delivery(
            pattern,
            handler,
            group=group,
            queue_size=queue_size,
            passive=passive,
            counts=self.counts,
            on_end=self._ended,
        )
        if group is None:
            self._all.append(delivery)
        else:
            self._groups.setdefault((group, pattern), []).append(delivery)
        await self._joined(delivery)
        return delivery

    async def close(self) -> None:
        """Delivers what is queued, within seconds, then ends. Safe twice."""
        if self._closed:
            return
        self._closed = True
        await self._before_close()
        deliveries = list(self._deliveries())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                for delivery in deliveries:
                    await delivery.drained()
        for delivery in deliveries:
            self.counts.add("dropped", delivery.waiting)
            await delivery.unsubscribe()

    async def health(self) -> BusHealth:
        return BusHealth(
            mode="memory",
            since=self._since,
            wanted="memory",
            healthy=True,
            detail="Events stay within this process.",
            published=self.counts.published,
            delivered=self.counts.delivered,
            dropped=self.counts.dropped,
            failed=self.counts.failed,
            topics=dict(self.counts.topics),
        )

    def wanted_by_anyone(self, topic: str) -> bool:
        return any(not delivery.passive and delivery.wants(topic) for delivery in self._deliveries())

    def replay(self, pattern: str, after: str) -> list[Event] | None:
        """Events of the last moments that the pattern wants and that came after the event with the id `after`, oldest
        first; None when that event is not remembered (it is too long ago, or another process had it)."""
        found: list[Event] | None = None
        for event, _ in self._recent:
            if event.id == after:
                found = []
            elif found is not None and matches(pattern, event.topic):
                found.append(event)
        return found

    # What an adapter that reaches other processes does differently.

    def _route(self, event: Event, payload: bytes, *, named: bool) -> None:
        self._deliver(event, len(payload))
        self._deliver_to_groups(event, len(payload))

    async def _joined(self, delivery: Delivery) -> None: ...

    async def _left(self, delivery: Delivery) -> None: ...

    async def _before_close(self) -> None: ...

    # What all have in common.

    def _make(self, topic: str, data: Any, id: str | None) -> tuple[Event, bytes]:
        check_topic(topic)
        if id is not None and not _ID.fullmatch(id):
            raise ValueError("An event's id is 1 to 200 visible ASCII characters")
        try:
            payload = orjson.dumps(data)
            plain = orjson.loads(payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"The event's data is not JSON: {error}") from None
        if len(payload) > DATA_LIMIT:
            raise ValueError(f"The event's data is larger than {DATA_LIMIT} bytes as JSON")
        return Event(id or uuid.uuid4().hex, topic, plain, datetime.now(UTC), self.source), payload

    def _deliver(self, event: Event, size: int) -> None:
        """To every subscriber without a group."""
        if not is_tail(event.topic):
            self._remember(event, size)
        for delivery in self._all:
            if delivery.wants(event.topic):
                delivery.put(event, size)

    def _deliver_to_groups(self, event: Event, size: int) -> list[Group]:
        """To one member of every group here; gives the groups that have it now. Members take turns."""
        had = []
        for group, members in self._groups.items():
            if members and matches(group[1], event.topic):
                members.append(members.pop(0))
                members[-1].put(event, size)
                had.append(group)
        return had

    def _first_time(self, id: str) -> bool:
        """Whether the id is new; from now on it is not."""
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > SEEN_IDS:
            del self._seen[next(iter(self._seen))]
        return True

    def _remember(self, event: Event, size: int) -> None:
        self._recent.append((event, size))
        self._recent_bytes += size
        while len(self._recent) > RECENT_EVENTS or self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[1]

    def _deliveries(self) -> Iterable[Delivery]:
        yield from self._all
        for members in self._groups.values():
            yield from members

    async def _ended(self, delivery: Delivery) -> None:
        if delivery.group is None:
            if delivery in self._all:
                self._all.remove(delivery)
        else:
            group = (delivery.group, delivery.pattern)
            members = self._groups.get(group, [])
            if delivery in members:
                members.remove(delivery)
            if not members:
                self._groups.pop(group, None)
        await self._left(delivery)
