"""The bus of a running process: within the process always, over Redis while it is wanted and there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from ares_otel.eventbus import wire
from ares_otel.eventbus.connection import redis_url
from ares_otel.eventbus.counts import Tell
from ares_otel.eventbus.memory import MemoryBus
from ares_otel.eventbus.outbox import MAX_BYTES, MAX_EVENTS, Outbox, Outgoing
from ares_otel.eventbus.queues import Delivery
from ares_otel.eventbus.redis import CLAIM_SECONDS, RedisLink
from ares_otel.eventbus.topics import is_tail
from ares_otel.model.bus import BusHealth, Event

Kind = Literal["memory", "redis"]


class SwitchingBus(MemoryBus):
    """An `EventBus` that works without Redis, and over it whenever it is there.

    This process's subscribers get an event at once. A group's members get it over Redis while that is there, so that
    they share the work with other processes; while Redis is away they get it here, and the entry that is sent later
    says so. Everything published while Redis is away is kept for the other processes, within bounds.
    """

    def __init__(
        self,
        *,
        source: str | None = None,
        tell: Tell | None = None,
        claim_seconds: float = CLAIM_SECONDS,
        outbox_events: int = MAX_EVENTS,
        outbox_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(source=source, tell=tell)
        self._claim_seconds = claim_seconds
        self._new_outbox = partial(Outbox, outbox_events, outbox_bytes)
        self._outbox = self._new_outbox()
        self._link: RedisLink | None = None
        self._switching = asyncio.Lock()

    async def switch(self, kind: Kind, url: str = "", *, wait_seconds: float = 0.0) -> None:
        """Moves the running bus over; no event is lost to this process's subscribers.

        Args:
            kind: `memory` or `redis`.
            url: of Redis: `localhost:6379`, `redis://…`, `rediss://…`.
            wait_seconds: how long to wait for Redis; without it the bus moves over when Redis answers.

        Raises:
            ValueError: the kind or the URL is none; the bus stays as it was.
        """
        if kind not in ("memory", "redis"):
            raise ValueError("The type of the event bus must be memory or redis")
        wanted = redis_url(url) if kind == "redis" else None
        link: RedisLink | None = None
        async with self._switching:
            if self._closed or wanted == (self._link.url if self._link is not None else None):
                return
            await self._let_go(stays=wanted is not None)
            if wanted is not None:
                link = self._link = RedisLink(
                    wanted,
                    outbox=self._outbox,
                    counts=self.counts,
                    receive=self._receive,
                    changed=self._link_changed,
                    listens_to=self._listens_to,
                    claim_seconds=self._claim_seconds,
                )
                for delivery in list(self._deliveries()):
                    if delivery.group is not None:
                        await link.join(delivery)
                link.start()
            self._since = datetime.now(UTC)
        if link is not None and wait_seconds:
            await link.wait_up(wait_seconds)

    async def health(self) -> BusHealth:
        plain = await super().health()
        link = self._link
        return BusHealth(
            mode="redis" if link is not None and link.up else "memory",
            since=link.since if link is not None else self._since,
            wanted="memory" if link is None else "redis",
            healthy=link is None or link.up,
            detail=plain.detail if link is None else link.detail,
            published=plain.published,
            delivered=plain.delivered,
            dropped=plain.dropped,
            failed=plain.failed,
            waiting=len(self._outbox),
            topics=plain.topics,
        )

    @property
    def mode(self) -> Kind:
        """What carries events now."""
        return "redis" if self._link is not None and self._link.up else "memory"

    @property
    def since(self) -> datetime:
        """Since when."""
        return self._link.since if self._link is not None else self._since

    @property
    def wanted(self) -> Kind:
        """What should carry events."""
        return "memory" if self._link is None else "redis"

    @property
    def waiting(self) -> int:
        """Events that wait to be sent to other processes."""
        return len(self._outbox)

    def wanted_by_anyone(self, topic: str) -> bool:
        return super().wanted_by_anyone(topic) or (self._link is not None and self._link.wanted(topic))

    def _route(self, event: Event, payload: bytes, *, named: bool) -> None:
        self._deliver(event, len(payload))
        link = self._link
        if link is None:
            had = self._deliver_to_groups(event, len(payload))
            if self._switching.locked() and not is_tail(event.topic):
                outgoing = Outgoing(event, payload, named=named, local=True)
                outgoing.done = had
                self._put(outgoing)
            return
        if is_tail(event.topic) and not link.up:
            return
        outgoing = Outgoing(event, payload, named=named, local=not link.up)
        if not link.up:
            outgoing.done = self._deliver_to_groups(event, len(payload))
        self._put(outgoing)

    def _put(self, outgoing: Outgoing) -> None:
        for gone in self._outbox.put(outgoing):
            self.counts.add("dropped")
            if not gone.local:  # it was meant to reach this process's group members over Redis
                self._deliver_to_groups(gone.event, len(gone.payload))

    async def _joined(self, delivery: Delivery) -> None:
        if self._link is not None:
            if delivery.group is not None:
                await self._link.join(delivery)
            self._link.look()

    async def _left(self, delivery: Delivery) -> None:
        if self._link is not None:
            if delivery.group is not None:
                await self._link.leave(delivery)
            self._link.look()

    async def _before_close(self) -> None:
        async with self._switching:
            await self._let_go(stays=False)

    async def _let_go(self, *, stays: bool) -> None:
        """Ends the link. What was not sent is kept for another one if there will be one (`stays`)."""
        link = self._link
        if link is None:
            return
        # Until the link is gone, what is published goes to the subscribers here, and waits for the next link.
        self._link = None
        before, self._outbox = self._outbox, self._new_outbox()
        await link.drain()
        await link.close()
        before.drop_tail()
        self._give_to_groups_here(before)
        between = self._outbox
        self._outbox = before if stays else self._new_outbox()
        for outgoing in between if stays else ():
            self._put(outgoing)
        if not stays:
            self.counts.add("dropped", len(before))

    def _receive(self, received: wire.Received) -> None:
        if self._first_time(received.event.id):
            self._deliver(received.event, received.size)

    def _link_changed(self, up: bool) -> None:
        if not up:
            self._outbox.drop_tail()
            self._give_to_groups_here(self._outbox)

    def _give_to_groups_here(self, outbox: Outbox) -> None:
        """Redis went away with events that this process's group members should have got from it."""
        for outgoing in outbox:
            if not outgoing.local:
                outgoing.local = True
                outgoing.done = self._deliver_to_groups(outgoing.event, len(outgoing.payload))

    def _listens_to(self) -> Iterable[str]:
        return {delivery.pattern for delivery in self._deliveries() if not delivery.passive}
