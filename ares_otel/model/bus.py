"""The event bus as everybody sees it: publish to a topic, subscribe to topics. Adapters are in `ares_otel/eventbus`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

TOPIC_LIMIT = 200
"""Characters of a topic at most. A topic is words of letters, digits, `_` and `-`, joined by dots: `trade.executed`."""
OWN_TOPICS = frozenset({"service", "config", "spans", "tail"})
"""First words of the topics that Ares itself publishes. Over REST nobody else may: listeners believe them."""
DATA_LIMIT = 1024 * 1024
"""Bytes of an event's data as JSON at most."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Data is JSON: what does not survive `orjson.dumps` is refused by `publish`."""

    id: str
    """Unique; the same event keeps it on every bus and after every repetition, so that a subscriber knows it again."""
    topic: str
    data: Any
    published_at: datetime
    """UTC, to the microsecond."""
    source: str = ""
    """Which process published it: host and instance."""


Handler = Callable[[Event], Awaitable[None] | None]
"""A subscriber's function, sync or async. What it raises is logged and counted and hurts nobody else."""


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How the bus does. `mode` is the adapter that is active now, which may be `memory` although redis is wanted."""

    mode: Literal["memory", "redis"]
    since: datetime
    """Since when that mode is active."""
    wanted: Literal["memory", "redis"]
    healthy: bool
    """False while the wanted adapter is away."""
    detail: str = ""
    """A sentence for people, without credentials."""
    published: int = 0
    delivered: int = 0
    dropped: int = 0
    """Events that a subscriber's full queue could not take."""
    failed: int = 0
    """Handler calls that raised."""
    waiting: int = 0
    """Local events that wait for the wanted adapter to return."""
    topics: dict[str, int] = field(default_factory=dict)
    """Events published by this process, by topic (the busiest thousand)."""


@dataclass(frozen=True, slots=True)
class TopicCount:
    """What was counted of one topic."""

    topic: str
    published: int
    """Events since this process started, its own and those of other processes."""
    per_second: float
    """Over the last minute."""


class Subscription(Protocol):
    """A handle: `await subscription.unsubscribe()` ends the delivery; safe twice. `dropped` counts what was lost."""

    pattern: str
    dropped: int

    async def unsubscribe(self) -> None: ...


class EventBus(Protocol):
    """Publish and subscribe. One interface, whatever carries the events.

    * `publish` returns when the event is on its way to this process's subscribers and handed to the adapter; it never
      waits for a handler. It raises ValueError for a bad topic or data that is not JSON, and nothing else: an adapter
      that is away keeps the event and delivers it later.
    * `subscribe` takes a topic or a pattern: `*` stands for one word, `**` at the end for any number (`trade.*`,
      `config.**`). Without a `group` every subscriber in every process gets each event; the members of a named group
      share the events between them, over processes, and a member that was away goes on where the group was. A
      `passive` subscriber takes what there is, but nothing is published for its sake (see `wanted_by_anyone`).
    * The live tail (`tail.spans`, `tail.logs`) is not meant by a pattern that begins with a wildcard.
    * Order is kept per topic and publisher. A slow handler has a bounded queue of its own; what does not fit is
      dropped (the oldest first) and counted.
    * `close` delivers what is queued (bounded time), then ends; safe twice.
    """

    async def publish(self, topic: str, data: Any, *, id: str | None = None) -> Event: ...

    async def subscribe(
        self,
        pattern: str,
        handler: Handler,
        *,
        group: str | None = None,
        queue_size: int = 1000,
        passive: bool = False,
    ) -> Subscription: ...

    async def close(self) -> None: ...

    async def health(self) -> BusHealth: ...

    def wanted_by_anyone(self, topic: str) -> bool:
        """Whether some subscriber of this process, or any other process, may want the topic. What nobody listens to
        need not be built: callers on the hot path ask first. May say True too often, never False too often (for other
        processes: within a few seconds)."""
        ...

    def replay(self, pattern: str, after: str) -> list[Event] | None:
        """Events of the last moments that the pattern wants, after the event with the id `after`, oldest first; None
        when that event is not remembered here."""
        ...
