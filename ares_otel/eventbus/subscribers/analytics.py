"""Counts what goes over the bus, by topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ares_otel.model.bus import Event, EventBus, Subscription, TopicCount
from ares_otel.model.clock import SYSTEM_CLOCK, Clock

MAX_TOPICS = 1000
"""Topics that are counted by name; what comes after them is counted as `other`."""
MAX_LABELS = 100
"""Topics that become a label of a metric."""
OTHER = "other"
WINDOW = 60.0
"""Seconds over which a rate is taken."""
QUEUE_SIZE = 10_000


@dataclass(slots=True)
class _Topic:
    count: int = 0
    window: int = 0
    """Number of the minute that `current` counts."""
    current: int = 0
    before: int = 0


class AnalyticsSubscriber:
    """Counts and rates per topic of all events that reach this process, its own and those of others.

    It is passive: it wants nothing to be published for its sake, so what is only built when somebody listens (the live
    tail, `spans.error`) is counted when somebody else listens.
    """

    def __init__(
        self, bus: EventBus, *, tell: Callable[[str], None] = lambda topic: None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """
        Args:
            tell: told the topic of every event, at most `MAX_LABELS` different ones; the rest is `other`.
        """
        self._bus = bus
        self._tell = tell
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._labels: set[str] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._subscription = await self._bus.subscribe("**", self._count, queue_size=QUEUE_SIZE, passive=True)

    async def stop(self) -> None:
        """Safe without `start` and twice."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    def topics(self) -> list[TopicCount]:
        """What was counted, the busiest first."""
        now = self._clock.monotonic()
        rows = [TopicCount(name, topic.count, _rate(topic, now)) for name, topic in self._topics.items()]
        return sorted(rows, key=lambda row: (-row.published, row.topic))

    async def _count(self, event: Event) -> None:
        name = event.topic if event.topic in self._topics or len(self._topics) < MAX_TOPICS else OTHER
        topic = self._topics.setdefault(name, _Topic())
        _turn(topic, self._clock.monotonic())
        topic.count += 1
        topic.current += 1
        label = event.topic
        if label not in self._labels:
            if len(self._labels) < MAX_LABELS:
                self._labels.add(label)
            else:
                label = OTHER
        self._tell(label)


def _turn(topic: _Topic, now: float) -> None:
    window = int(now // WINDOW)
    if window != topic.window:
        topic.before = topic.current if window == topic.window + 1 else 0
        topic.current = 0
        topic.window = window


def _rate(topic: _Topic, now: float) -> float:
    """Events a second over the last minute: this minute's, and the share of the last one's that is not yet past."""
    _turn(topic, now)
    share = 1 - (now % WINDOW) / WINDOW
    return round((topic.current + topic.before * share) / WINDOW, 3)
